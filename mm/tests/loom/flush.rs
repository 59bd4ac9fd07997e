//! Flushes: memory is used again only when no CPU reaches it.

use crate::machine::{Here, Machine, page};
use crate::{large_model, model};
use mm::smp::CpuState;
use std::time::Duration;

/// A CPU uses memory by an old translation until it is asked to forget it.
#[test]
fn flush_against_use_on_another_cpu() {
    model(|| {
        let machine = Machine::all_online(2);
        let other = machine.spawn(1, |here| {
            here.touch(0);
            here.take_interrupt();
            here.touch(0);
            here.serve(2);
        });
        let boot = machine.cpu(0);
        boot.unmap(0);
        boot.flush(0);
        boot.reuse(0);
        boot.serve(2);
        other.join().unwrap();
    });
}

/// A CPU comes online in the middle, with translations that it read before.
#[test]
fn flush_against_arrival() {
    model(|| {
        let machine = Machine::new(2);
        let boot = machine.cpu(0);
        boot.cpus().expect(machine.cpu(1).id());
        let other = machine.spawn(1, |here| {
            here.cpus().arrive(here.id(), here).unwrap();
            here.touch(0);
            here.serve(2);
        });
        boot.unmap(0);
        boot.flush(0);
        boot.reuse(0);
        boot.serve(2);
        other.join().unwrap();
    });
}

/// Two CPUs flush at once, each a page of its own that the other has used; each answers while it waits.
#[test]
fn two_flushes_cross() {
    large_model(|| {
        let machine = Machine::all_online(2);
        let ours = |here: Here<'_>, mine: usize| {
            here.touch(1 - mine);
            here.unmap(mine);
            here.flush(mine);
            here.reuse(mine);
            here.touch(1 - mine);
            here.serve(2);
        };
        let other = machine.spawn(1, move |here| ours(here, 1));
        ours(machine.cpu(0), 0);
        other.join().unwrap();
    });
}

/// Two CPUs flush at once and a third must forget both pages, whichever ranges it gets to see. Three that wait for each
/// other would be run in unfair orders for ever, so nobody waits here: who is not answered at once leaves the memory
/// alone.
#[test]
fn a_third_cpu_forgets_what_both_asked() {
    large_model(|| {
        let machine = Machine::all_online(3);
        let ask = |here: Here<'_>, mine: usize| {
            here.unmap(mine);
            if here.cpus().flush(&here.pinned(), here, page(mine), Duration::ZERO).is_ok() {
                here.reuse(mine);
            }
        };
        let second = machine.spawn(1, move |here| ask(here, 1));
        let third = machine.spawn(2, |here| {
            here.cpus().answer_flush(here.id(), here);
            here.cpus().answer_flush(here.id(), here);
            here.touch(0);
            here.touch(1);
        });
        ask(machine.cpu(0), 0);
        second.join().unwrap();
        third.join().unwrap();
    });
}

/// A CPU that is given up in the middle of its start is not waited for.
#[test]
fn flush_against_giving_up() {
    model(|| {
        let machine = Machine::new(3);
        let boot = machine.cpu(0);
        for id in [1, 2] {
            boot.cpus().expect(machine.cpu(id).id());
        }
        machine.cpu(1).cpus().arrive(machine.cpu(1).id(), machine.cpu(1)).unwrap();
        let flusher = machine.spawn(1, |here| {
            here.unmap(0);
            here.flush(0);
            here.reuse(0);
            here.serve(2);
        });
        let dead = machine.cpu(2).id();
        boot.cpus().await_arrival(&boot.pinned(), dead, boot, Duration::ZERO).unwrap_err();
        assert_eq!(boot.cpus().state(dead), CpuState::Failed);
        boot.serve(2);
        flusher.join().unwrap();
    });
}

/// Three generations pass, of which the other CPU may see any.
#[test]
fn generations_that_were_missed() {
    model(|| {
        let machine = Machine::all_online(2);
        let other = machine.spawn(1, |here| {
            here.take_interrupt();
            here.touch(1);
            here.serve(2);
        });
        let boot = machine.cpu(0);
        for page in [0, 1] {
            boot.unmap(page);
            boot.flush(page);
            boot.reuse(page);
        }
        boot.serve(2);
        other.join().unwrap();
    });
}

/// A request is replaced while another CPU reads its range: it must not flush half of the one and half of the other.
/// Nobody waits; an answer to the second request stands for both.
#[test]
fn a_range_that_is_replaced_while_it_is_read() {
    model(|| {
        let machine = Machine::all_online(2);
        let other = machine.spawn(1, |here| {
            for _ in 0..2 {
                here.cpus().answer_flush(here.id(), here);
            }
            here.touch(0);
            here.touch(1);
        });
        let boot = machine.cpu(0);
        boot.unmap(0);
        boot.unmap(1);
        let _ = boot.cpus().flush(&boot.pinned(), boot, page(0), Duration::ZERO);
        if boot.cpus().flush(&boot.pinned(), boot, page(1), Duration::ZERO).is_ok() {
            boot.reuse(0);
            boot.reuse(1);
        }
        other.join().unwrap();
    });
}
