//! The protocols between CPUs under loom, which runs each model in every order that threads may take and with every
//! value that a load may see. What is run is `mm`'s own code, with loom's atomics.
//!
//! A model's CPU is a thread. It has no interrupts: a signal sets a flag that the CPU looks at between its own
//! steps. Its TLB is a flag for each page, its tables one present bit for each page, memory is a cell of loom's, which fails
//! the model when two accesses are in no order. So "memory is used again while a CPU still reaches it by an old
//! translation" is an error that loom reports.
//!
//! ```text
//! RUSTFLAGS="--cfg loom" cargo test -p tessera-mm --profile loom --test loom
//! ```
//! takes up to two preemptions into account, `LOOM_MAX_PREEMPTIONS=3` one more. `cargo xtask test --loom` does this.
#![cfg(loom)]
#![expect(clippy::unwrap_used, reason = "helpers of tests may fail like tests")]

mod arrival;
mod call;
mod flush;
mod lock;
mod machine;
mod work;

/// Preemptions that each model takes into account, unless `LOOM_MAX_PREEMPTIONS` says otherwise. Most errors of such
/// protocols need one or two.
const PREEMPTIONS: usize = 2;

/// Runs the model in every order.
fn model(body: impl Fn() + Sync + Send + 'static) {
    run(0, body);
}

/// As [`model`], with one preemption less: for those that have more orders than all others together.
fn large_model(body: impl Fn() + Sync + Send + 'static) {
    run(1, body);
}

fn run(less: usize, body: impl Fn() + Sync + Send + 'static) {
    let mut builder = loom::model::Builder::new();
    let preemptions = builder.preemption_bound.unwrap_or(PREEMPTIONS);
    builder.preemption_bound = Some(preemptions.saturating_sub(less));
    builder.check(body);
}
