//! The machines, by name.

macro_rules! machines {
    ($($name:literal),* $(,)?) => {
        /// Name and facts of each.
        pub(crate) const MACHINES: &[(&str, &str)] = &[
            $(($name, include_str!(concat!("../linux_facts/", $name, ".txt")))),*
        ];
    };
}

machines!(
    "a-dt-hotplug",
    "a-kernelcore1g",
    "a-numa-off",
    "a-numa2-4g",
    "a-numa3-cpuless-last",
    "a-numa3-memless",
    "a-raspi3b",
    "a-slots-2g",
    "a-virt-128m",
    "a-virt-256g",
    "a-virt-8g-max",
    "x-fake4",
    "x-fake512m",
    "x-kernelcore-mirror",
    "x-kernelcore1g",
    "x-memmap-hole",
    "x-microvm-1g",
    "x-movablecore1g",
    "x-numa-off",
    "x-numa2-4g",
    "x-numa2-cpuless",
    "x-numa3-memless",
    "x-numa4-dist",
    "x-numa8-8g",
    "x-pc-4g",
    "x-q35-128m",
    "x-q35-2g",
    "x-q35-64g",
    "x-slots-2g",
    "x-srat-hotplug",
    "x-srat-hotplug-mixed",
    "x-srat-partial",
    "x-srat-pxm-sparse",
);
