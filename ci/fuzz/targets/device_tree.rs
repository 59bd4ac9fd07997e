//! A device tree blob of any bytes.
#![no_main]

use bring_up::Facts;
use libfuzzer_sys::fuzz_target;
use mm::machine::{MachineSink, Rules};
use platform::firmware::fdt;
use platform::options::Options;

fuzz_target!(|bytes: &[u8]| {
    let mut bytes = bytes.to_vec();
    let Ok(blob) = fdt::check(&mut bytes) else { return };
    let mut facts = Facts::default();
    blob.describe(&mut facts);
    let _ = (blob.power_off(), blob.stdout(), blob.model().map(str::len), blob.compatible().count());
    let _ = (blob.irq_controller(&mut |warning| facts.warning(warning)), blob.timer_interrupt());
    facts.bring_up(Rules::Arm64, &Options::default());
});
