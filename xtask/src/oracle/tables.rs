//! Reads what a kernel prints when it is asked: `/proc/zoneinfo`, and the distances of `numactl --hardware`.

use std::collections::BTreeMap;

use super::facts::{Facts, Zone};

/// What stands before the distances.
const DISTANCES: &str = "node distances:";

/// What was read so far.
#[derive(Debug, Default)]
pub(super) struct Tables {
    zones: Vec<Zone>,
    distances: BTreeMap<u32, Vec<u32>>,
    inside: Inside,
    /// How many CPUs of the zone's page sets were named.
    cpus: u32,
}

/// The table that the last lines belong to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inside {
    #[default]
    Nothing,
    Zone,
    Distances,
}

impl Tables {
    /// Takes one line, without blanks at its end.
    pub(super) fn line(&mut self, line: &str) {
        if let Some(zone) = zone(line) {
            self.zones.push(zone);
            (self.inside, self.cpus) = (Inside::Zone, 0);
        } else if line == DISTANCES {
            self.inside = Inside::Distances;
        } else if self.inside == Inside::Distances {
            match distances(line) {
                Some((node, row)) => drop(self.distances.insert(node, row)),
                // A row of node numbers stands above the rows of distances.
                None if line.starts_with("node ") => {}
                None => self.inside = Inside::Nothing,
            }
        } else if self.inside == Inside::Zone {
            match line.starts_with(' ') {
                true => self.of_zone(line.trim_start()),
                false => self.inside = Inside::Nothing,
            }
        }
    }

    /// Puts what was read into the facts: of zones those that have pages.
    pub(super) fn hand_over(self, facts: &mut Facts) {
        facts.zones = self.zones.into_iter().filter(|zone| zone.present != 0).collect();
        facts.distances = self.distances;
    }

    fn of_zone(&mut self, line: &str) {
        let Some(zone) = self.zones.last_mut() else { return };
        if line.starts_with("cpu: ") {
            self.cpus += 1;
            return;
        }
        if let Some(list) = line.strip_prefix("protection: (").and_then(|list| list.strip_suffix(')')) {
            zone.protection = list.split(", ").filter_map(|word| word.parse().ok()).collect();
            return;
        }
        let Some((name, number)) = line.rsplit_once(char::is_whitespace) else { return };
        let Ok(number) = number.parse() else { return };
        let of_first_cpu = self.cpus == 1;
        let field = match name.trim_end() {
            "spanned" => &mut zone.spanned,
            "present" => &mut zone.present,
            "managed" => &mut zone.managed,
            "cma" => &mut zone.cma,
            "boost" => &mut zone.boost,
            "min" => &mut zone.min,
            "low" => &mut zone.low,
            "high" => &mut zone.high,
            "start_pfn:" => &mut zone.start_pfn,
            "high:" if of_first_cpu => &mut zone.pcp_high,
            "batch:" if of_first_cpu => &mut zone.pcp_batch,
            "vm stats threshold:" if of_first_cpu => &mut zone.vm_stats_threshold,
            _ => return,
        };
        *field = number;
    }
}

/// `Node 0, zone   Normal`, and nothing behind it: `/proc/buddyinfo` begins so, too.
fn zone(line: &str) -> Option<Zone> {
    let (node, zone) = line.strip_prefix("Node ")?.split_once(", zone ")?;
    let zone = zone.trim_start();
    let alone = !zone.is_empty() && !zone.contains(' ');
    alone.then_some(Zone { node: node.parse().ok()?, zone: zone.to_owned(), ..Zone::default() })
}

/// `  0:  10  20`
fn distances(line: &str) -> Option<(u32, Vec<u32>)> {
    let (node, row) = line.trim_start().split_once(':')?;
    let row = row.split_whitespace().map(|word| word.parse().ok()).collect::<Option<_>>()?;
    Some((node.parse().ok()?, row))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of Linux 6.1; the counters left out, and what follows in a log.
    const ZONEINFO: &str = "
Node 0, zone      DMA
  per-node stats
      nr_inactive_anon 0
  pages free     3840
        boost    0
        min      107
        low      133
        high     159
        spanned  4095
        present  3998
        managed  3840
        cma      0
        protection: (0, 939, 939, 939, 939)
      nr_free_pages 3840
  pagesets
    cpu: 0
              count: 0
              high:  33
              batch: 1
  vm stats threshold: 6
    cpu: 1
              count: 0
              high:  34
              batch: 2
  vm stats threshold: 7
  node_unreclaimable:  0
  start_pfn:           1
Node 1, zone   Normal
  pages free     0
        boost    0
        min      0
        spanned  0
        present  0
        managed  0
Node 0, zone      DMA      0      0      0      0      0      0      0      0      1      1      3
        present  99
";

    fn read(text: &str) -> Facts {
        let (mut tables, mut facts) = (Tables::default(), Facts::default());
        text.lines().for_each(|line| tables.line(line.trim_end()));
        tables.hand_over(&mut facts);
        facts
    }

    #[test]
    fn zones_with_pages_are_read() {
        let expected = Zone {
            node: 0,
            zone: "DMA".into(),
            start_pfn: 1,
            spanned: 4095,
            present: 3998,
            managed: 3840,
            cma: 0,
            boost: 0,
            min: 107,
            low: 133,
            high: 159,
            protection: vec![0, 939, 939, 939, 939],
            pcp_high: 33,
            pcp_batch: 1,
            vm_stats_threshold: 6,
        };
        assert_eq!(read(ZONEINFO).zones, [expected]);
    }

    #[test]
    fn distances_are_rows_by_node() {
        let ours = "node 1 free: 5 MB\nnode distances:\nnode   0   1 \n  0:  10  20 \n  1:  20  10 \nmonitor: 5: 7";
        let linux = "node distances:\n0: 10 20\n1: 20 10\n== done\n2: 9";
        let expected = BTreeMap::from([(0, vec![10, 20]), (1, vec![20, 10])]);
        assert_eq!((read(ours).distances, read(linux).distances), (expected.clone(), expected));
    }
}
