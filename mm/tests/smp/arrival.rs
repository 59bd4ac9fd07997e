//! Coming up, late, and not at all.

use crate::wires::{LIMIT, Log, Wires, slots};
use mm::addr::CpuId;
use mm::smp::{CpuState, Cpus, EVERYTHING, NoAnswer, TooLate};

const ONE: CpuId = CpuId::new(1);

#[test]
fn a_cpu_comes_up_by_way_of_starting() {
    let (slots, log) = (slots(3), Log::default());
    let wires = Wires::new(&slots, &log);
    let cpus = wires.cpus;
    assert_eq!([0, 1, 2, 3].map(|id| cpus.state(CpuId::new(id))), {
        use CpuState::{Offline, Online};
        [Online, Offline, Offline, Offline]
    });
    cpus.expect(ONE);
    assert_eq!(cpus.state(ONE), CpuState::Starting);
    assert_eq!(cpus.online().collect::<Vec<_>>(), [CpuId::BOOT]);
    cpus.arrive(ONE, wires.at(1)).unwrap();
    assert_eq!(log.flushes(), [(1, EVERYTHING)]);
    cpus.await_arrival(&wires.pinned(), ONE, wires, LIMIT).unwrap();
    assert_eq!(cpus.online().collect::<Vec<_>>(), [CpuId::BOOT, ONE]);
    // It arrives once, and is expected once.
    assert_eq!(cpus.arrive(ONE, wires.at(1)), Err(TooLate));
    cpus.expect(ONE);
    assert_eq!(cpus.state(ONE), CpuState::Online);
}

#[test]
fn who_does_not_come_is_given_up_within_the_limit_and_hears_of_it() {
    let (slots, log) = (slots(3), Log::default());
    let wires = Wires::new(&slots, &log);
    wires.cpus.expect(ONE);
    let given_up = wires.cpus.await_arrival(&wires.pinned(), ONE, wires, LIMIT);
    assert_eq!(given_up, Err(NoAnswer { cpu: ONE }));
    assert_eq!(given_up.unwrap_err().to_string(), "CPU 1 does not answer");
    assert!((LIMIT..LIMIT * 2).contains(&log.elapsed()), "{:?}", log.elapsed());
    assert_eq!(wires.cpus.state(ONE), CpuState::Failed);
    assert_eq!(wires.cpus.arrive(ONE, wires.at(1)), Err(TooLate));
    assert_eq!(log.flushes(), []);
    // That is final.
    wires.cpus.expect(ONE);
    assert_eq!(wires.cpus.state(ONE), CpuState::Failed);
}

#[test]
fn nobody_arrives_who_is_not_expected() {
    let (slots, log) = (slots(2), Log::default());
    let wires = Wires::new(&slots, &log);
    assert_eq!(wires.cpus.arrive(ONE, wires.at(1)), Err(TooLate));
    assert_eq!(wires.cpus.state(ONE), CpuState::Offline);
    for nobody in [ONE, CpuId::new(2)] {
        wires.cpus.await_arrival(&wires.pinned(), nobody, wires, LIMIT).unwrap_err();
    }
    assert_eq!(wires.cpus.arrive(CpuId::new(2), wires), Err(TooLate));
}

#[test]
fn who_waits_for_a_cpu_answers_flushes_meanwhile() {
    let (slots, log) = (slots(3), Log::default());
    let wires = Wires::new(&slots, &log);
    wires.cpus.expect(ONE);
    wires.cpus.arrive(ONE, wires.at(1)).unwrap();
    log.flushes();
    // The boot CPU takes no interrupt while CPU 1 flushes...
    log.deaf.borrow_mut().push(0);
    let range = crate::wires::pages(3, 1);
    wires.cpus.flush(&wires.at(1).pinned(), wires.at(1), range, LIMIT).unwrap_err();
    assert_eq!(log.flushes(), [(1, range)]);
    // ... but looks when it waits.
    wires.cpus.expect(CpuId::new(2));
    wires.cpus.await_arrival(&wires.pinned(), CpuId::new(2), wires, LIMIT).unwrap_err();
    assert_eq!(log.flushes(), [(0, range)]);
}

#[test]
fn without_slots_there_is_nobody() {
    let log = Log::default();
    let wires = Wires::new(&[], &log);
    assert_eq!(Cpus::new(&[]).online().count(), 0);
    wires.cpus.answer(CpuId::BOOT, wires);
    wires.cpus.flush(&wires.pinned(), wires, crate::wires::pages(0, 1), LIMIT).unwrap();
    assert_eq!(log.flushes(), [(0, crate::wires::pages(0, 1))]);
}
