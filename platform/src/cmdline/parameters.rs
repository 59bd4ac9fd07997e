//! The one table of parameters that are known: name, form, and a line of help.
//!
//! The monitor's `cmdline` prints it. What Linux users have on their command lines and what has nothing to do here is
//! in it too, and says so, so that a line taken from Linux raises no question.

/// A parameter that some part of the kernel honours.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Parameter {
    /// Its name.
    pub name: &'static str,
    /// What follows the name, in words; empty for a bare name.
    pub value: &'static str,
    /// One line of help.
    pub help: &'static str,
}

const fn parameter(name: &'static str, value: &'static str, help: &'static str) -> Parameter {
    Parameter { name, value, help }
}

/// Every parameter that is known, in alphabetical order. SIZE is a number with K, M, G, T, P or E behind it.
pub const PARAMETERS: &[Parameter] = &[
    parameter("acpi", "=off|on|force", "off: ACPI is not read; on, force: it is, whatever a device tree says"),
    parameter("cma", "=SIZE[@START[-END]]", "contiguous memory for devices; arm64 keeps 64M by itself, 0: none"),
    parameter("cma_pernuma", "=SIZE", "arm64: contiguous memory on each node besides"),
    parameter("console", "=ttyS0[,115200]|ttyAMA0|none", "where the log and the monitor are; the last one holds"),
    parameter(
        "crashkernel",
        "=SIZE[@START]|FROM-[TO]:SIZE,…[@START]|SIZE,high|SIZE,low",
        "memory for a crash kernel; with ranges, by how much memory there is; high: above 4G too, low: beside it",
    ),
    parameter("default_hugepagesz", "=SIZE", "the size of huge pages where nobody names one, and of meminfo"),
    parameter(
        "earlycon",
        "[=uart8250,io|mmio|mmio32,ADDR|pl011,ADDR]",
        "console from the first line on; bare: the device tree's",
    ),
    parameter("efi", "=debug", "EFI's memory map is printed; no EFI service is used"),
    parameter("exec", "=\"COMMAND; COMMAND\"", "monitor commands to run at the end of bring-up"),
    parameter("exit", "=isa-debug|semihosting", "the test device that takes the exit status on power off"),
    parameter(
        "hugepages",
        "=N|NODE:N,NODE:N",
        "huge pages set aside, of the hugepagesz= before it or the default size",
    ),
    parameter("hugepagesz", "=SIZE", "the size that the next hugepages= counts"),
    parameter("keep_bootcon", "", "accepted and without effect: earlycon and console are one device"),
    parameter("kernelcore", "=SIZE|N%|mirror", "so much is for the kernel, the rest is Movable"),
    parameter("loglevel", "=0..8", "messages below this level go to the console (7: all but debug)"),
    parameter("mem", "=SIZE", "x86: RAM ends at this address; arm64: only so much RAM is used, from the lowest up"),
    parameter("memblock", "=debug", "tells every change of memblock while memory comes up"),
    parameter(
        "memhp_default_state",
        "=offline|online|online_kernel|online_movable",
        "what becomes of memory in slots, which no map names: it is not used, or in a zone by place or of a kind",
    ),
    parameter(
        "memmap",
        "=SIZE@START|SIZE#START|SIZE$START|SIZE!START|exactmap",
        "x86: a range is RAM, ACPI data, reserved, persistent; exactmap: nothing else is anything",
    ),
    parameter("mminit_loglevel", "=0..4", "how much of zones and zonelists is printed (4: all)"),
    parameter("movable_node", "", "what can be taken out of the running machine is Movable"),
    parameter("movablecore", "=SIZE|N%", "so much is Movable, the rest is for the kernel"),
    parameter("nokaslr", "", "accepted and without effect: the kernel is not randomised"),
    parameter(
        "numa",
        "=on|off|noacpi|fake=N|SIZE|NU[:DISTANCE,…]",
        "nodes as the firmware says, one, N, of SIZE each, N of each one",
    ),
    parameter("panic", "=SECONDS", "accepted and without effect: a panic tells what it knows and powers off"),
    parameter("selftest", "", "run the in-kernel tests at the end of bring-up"),
];
