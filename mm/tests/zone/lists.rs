//! Fallback orders and lists of any distances, against a model that looks for one neighbour after the other.

use crate::facts::{Facts, Machine};
use crate::zones;
use mm::addr::NodeId;
use mm::zone::ZoneKind;
use proptest::prelude::*;

/// Nodes with a CPU and 64 MiB each, or without memory, and how far they are apart.
fn machine(has_memory: &[bool], distances: &[Vec<u8>]) -> Machine {
    let mut description = "arch x86\n".to_owned();
    for (node, row) in distances.iter().enumerate() {
        let (start, last) = ((node as u64) << 26, ((node as u64 + 1) << 26) - 1);
        // Nodes are numbered in the order in which CPUs name their domains.
        description += &format!("cpu {node} {node}\ncpudomain {node} {node}\n");
        if has_memory[node] {
            description += &format!("bank {start:#x} {last:#x} usable\nsrat {node} {start:#x} {last:#x}\n");
        }
        for (other, distance) in row.iter().enumerate() {
            description += &format!("distance {node} {other} {distance}\n");
        }
    }
    Facts::parse(&description).machine
}

/// Every node's order: time and again the nearest of those that are left, a lower number counting as one farther; of
/// equals the one that was the first at its distance less often; of those the lowest.
fn orders(has_memory: &[bool], distances: &[Vec<u8>]) -> Vec<Vec<u16>> {
    let mut first_choice = vec![0; distances.len()];
    let mut orders = Vec::new();
    for (node, row) in distances.iter().enumerate() {
        let (mut order, load) = (vec![node], first_choice.clone());
        loop {
            let left = (0..row.len()).filter(|other| has_memory[*other] && !order.contains(other));
            let cost = |other: &usize| (u32::from(row[*other]) + u32::from(*other < node), load[*other], *other);
            let Some(next) = left.min_by_key(cost) else { break };
            if row[next] != row[*order.last().unwrap()] {
                first_choice[next] += 1;
            }
            order.push(next);
        }
        orders.push(order.into_iter().map(|node| node as u16).collect());
    }
    orders
}

/// Which nodes have memory, and distances of which many are equal or one apart. Node 0 has what boots the machine.
fn machines() -> impl Strategy<Value = (Vec<bool>, Vec<Vec<u8>>)> {
    (2..7_usize).prop_flat_map(|count| {
        let distance = prop_oneof![Just(15_u8), Just(20), Just(21), Just(22), Just(255)];
        let memory = prop::collection::vec(prop::bool::weighted(0.8), count);
        (memory, prop::collection::vec(prop::collection::vec(distance, count), count)).prop_map(
            |(mut memory, mut rows)| {
                memory[0] = true;
                rows.iter_mut().enumerate().for_each(|(node, row)| row[node] = 10);
                (memory, rows)
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: if cfg!(miri) { 2 } else { 64 },
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn each_node_asks_the_nearest_first_and_first_choices_are_spread((has_memory, distances) in machines()) {
        let mut machine = machine(&has_memory, &distances);
        let ram = machine.window();
        let zones = zones(&mut machine, &ram);
        for (node, expected) in (0..).map(NodeId::new).zip(orders(&has_memory, &distances)) {
            let order: Vec<_> = zones.fallback_order(node).iter().map(|other| other.as_u16()).collect();
            prop_assert_eq!(&order, &expected);
            // A list names the populated zones of the nodes in that order, each node's from the highest kind down.
            for kind in ZoneKind::ALL {
                let list = zones.zonelist(node, kind).iter().map(|zone| *zones.span(*zone).unwrap());
                let populated = order.iter().flat_map(|other| {
                    let own = zones.spans().iter().rev().filter(|zone| zone.node.as_u16() == *other);
                    own.filter(|zone| zone.present > 0 && zone.kind <= kind)
                });
                prop_assert!(list.eq(populated.copied()));
            }
        }
    }
}
