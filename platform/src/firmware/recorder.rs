//! For tests: a sink that keeps everything, and numbers that look random and are the same on every run.

use mm::addr::PhysRange;
use mm::machine::{
    Affinity, Bank, CpuAffinity, CpuEntry, Distance, DmaLimit, Fact, Initiator, MachineSink, MemoryKind, Problem,
    Reservation, Source, Usable, Warning, Wish,
};

#[derive(Default, PartialEq, Debug)]
pub(crate) struct Recorder {
    pub(crate) banks: Vec<Bank>,
    pub(crate) reservations: Vec<Reservation>,
    pub(crate) affinities: Vec<Affinity>,
    pub(crate) cpus: Vec<CpuEntry>,
    pub(crate) cpu_affinities: Vec<CpuAffinity>,
    pub(crate) initiators: Vec<Initiator>,
    pub(crate) distances: Vec<Distance>,
    pub(crate) wishes: Vec<Wish>,
    pub(crate) usable: Vec<Usable>,
    pub(crate) dma_limits: Vec<DmaLimit>,
    pub(crate) default_pools: Vec<Source>,
    pub(crate) warnings: Vec<Warning>,
}

impl Recorder {
    /// What `describe` says; and that it says as much when it is only counted.
    pub(crate) fn of(mut describe: impl FnMut(&mut dyn MachineSink)) -> Self {
        let mut count = mm::machine::Count::default();
        describe(&mut count);
        let mut this = Self::default();
        describe(&mut this);
        assert_eq!(count.banks, this.banks.len());
        assert_eq!(count.reservations, this.reservations.len());
        assert_eq!(count.affinities, this.affinities.len());
        assert_eq!(count.cpus, this.cpus.len());
        assert_eq!(count.cpu_affinities, this.cpu_affinities.len());
        assert_eq!(count.initiators, this.initiators.len());
        assert_eq!(count.distances, this.distances.len());
        assert_eq!(count.wishes, this.wishes.len());
        assert_eq!(count.usable, this.usable.len());
        this
    }

    /// Start, end, kind and entry of every bank.
    pub(crate) fn banks(&self) -> Vec<(u64, u64, MemoryKind, Option<u32>)> {
        let parts = |bank: &Bank| (start(bank.range), end(bank.range), bank.kind, bank.source.entry);
        self.banks.iter().map(parts).collect()
    }

    /// Start and end of every bank that is usable.
    pub(crate) fn usable(&self) -> Vec<(u64, u64)> {
        let usable = self.banks.iter().filter(|bank| bank.kind == MemoryKind::Usable);
        usable.map(|bank| (start(bank.range), end(bank.range))).collect()
    }

    /// Owner, start and end of every reservation.
    pub(crate) fn reserved(&self) -> Vec<(&str, u64, u64)> {
        self.reservations.iter().map(|r| (r.owner.as_str(), start(r.range), end(r.range))).collect()
    }

    /// Start, end and domain of every affinity.
    pub(crate) fn nodes(&self) -> Vec<(u64, u64, u32)> {
        self.affinities.iter().map(|a| (start(a.range), end(a.range), a.domain)).collect()
    }

    /// From, to and value of every distance.
    pub(crate) fn matrix(&self) -> Vec<(u32, u32, u32)> {
        self.distances.iter().map(|d| (d.from, d.to, d.value)).collect()
    }

    /// The warnings' entries and problems.
    pub(crate) fn problems(&self) -> Vec<(Option<u32>, Problem)> {
        self.warnings.iter().map(|warning| (warning.source.entry, warning.problem)).collect()
    }
}

fn start(range: PhysRange) -> u64 {
    range.start().as_u64()
}

fn end(range: PhysRange) -> u64 {
    range.end().as_u64()
}

impl MachineSink for Recorder {
    fn fact(&mut self, fact: Fact) {
        match fact {
            Fact::Bank(bank) => self.banks.push(bank),
            Fact::Reservation(reservation) => self.reservations.push(reservation),
            Fact::Wish(wish) => self.wishes.push(wish),
            Fact::Affinity(affinity) => self.affinities.push(affinity),
            Fact::Cpu(cpu) => self.cpus.push(cpu),
            Fact::CpuAffinity(cpu) => self.cpu_affinities.push(cpu),
            Fact::Initiator(device) => self.initiators.push(device),
            Fact::Distance(distance) => self.distances.push(distance),
            Fact::Usable(usable) => self.usable.push(usable),
            Fact::DmaLimit(limit) => self.dma_limits.push(limit),
            Fact::DefaultPool(source) => self.default_pools.push(source),
            Fact::Warning(warning) => {
                assert!(!warning.to_string().contains('\n'));
                self.warnings.push(warning);
            }
        }
    }
}

/// Xorshift, after Marsaglia.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `bound`.
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    /// Changes one byte, or one aligned word to a value that is likely to hurt.
    pub(crate) fn damage(&mut self, bytes: &mut [u8]) {
        let at = self.below(bytes.len());
        if self.below(4) > 0 {
            bytes[at] ^= 1 << self.below(8) | self.next() as u8;
            return;
        }
        let hurtful = [0, 1, 2, 3, 4, 9, 36, 0xff, 0x7fff_ffff, 0x8000_0000, u32::MAX, bytes.len() as u32];
        let value = hurtful[self.below(hurtful.len())];
        let value = if self.below(2) == 0 { value.to_be_bytes() } else { value.to_le_bytes() };
        if let Some(word) = bytes.get_mut(at & !3..(at & !3) + 4) {
            word.copy_from_slice(&value);
        }
    }
}
