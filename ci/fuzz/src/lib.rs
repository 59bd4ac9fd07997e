//! What every fuzz target does with the facts that it has made a reader state: bring memory up from them. The emulated
//! machine checks that everything adds up; no memory is a right answer too.

use mm::machine::{Fact, MachineSink, Rules, Warning};
use mm_testkit::Told;
use platform::options::Options;

/// Facts that are kept of one input; firmware with more exists, but a fuzzer's time is better spent otherwise.
const MAX_FACTS: usize = 2048;

/// What a reader said.
#[derive(Default)]
pub struct Facts {
    told: Told,
    count: usize,
}

impl MachineSink for Facts {
    fn fact(&mut self, fact: Fact) {
        if let Fact::Warning(warning) = fact {
            return check(&warning);
        }
        self.count += 1;
        if self.count <= MAX_FACTS {
            self.told.fact(fact);
        }
    }
}

impl Facts {
    /// Brings memory up to zonelists, as far as there is memory.
    pub fn bring_up(mut self, rules: Rules, options: &Options) {
        let _ = self.told.bring_up(rules, options, |_| ());
        self.told.warnings.iter().for_each(check);
    }
}

/// A warning is one line.
fn check(warning: &Warning) {
    assert!(!warning.to_string().contains('\n'));
}
