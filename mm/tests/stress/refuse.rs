//! Refusals on purpose: exactly one request of exactly one CPU.

use crate::up::{give_back, up};
use mm::addr::{CpuId, Order};
use mm::page_alloc::{AllocError, Gfp};
use mm_testkit::{Machine, run_on};

const REFUSED: Result<(), AllocError> = Err(AllocError::NoMemory { order: Order::MAX });

#[test]
#[cfg_attr(miri, ignore = "too slow")]
fn the_request_after_those_that_go_through_is_refused_and_no_other() {
    let machine = Machine::<12>::builder().ram(0, 64 << 20, 0).cpus(2).finish();
    let mm = up(&machine, &[]);
    let ask = || mm.pages.alloc(Order::MAX, Gfp::KERNEL).map(|pfn| give_back(&mm.pages, pfn, Order::MAX).unwrap());
    for before in [0, 1, 5] {
        let refusal = mm.pages.refuse_after(before).unwrap();
        assert!(mm.pages.refuse_after(0).is_none(), "two are armed");
        for _ in 0..before {
            assert_eq!(ask(), Ok(()));
            run_on(CpuId::new(1), || assert_eq!(ask(), Ok(())));
        }
        assert!(!refusal.happened());
        assert_eq!(ask(), REFUSED);
        assert!(refusal.happened());
        assert_eq!((ask(), ask()), (Ok(()), Ok(())));
        drop(refusal);
        assert_eq!(ask(), Ok(()));
    }
    // One that never came does no harm.
    drop(mm.pages.refuse_after(3));
    assert_eq!([ask(), ask(), ask(), ask()], [Ok(()); 4]);
    mm.verify().unwrap();
}
