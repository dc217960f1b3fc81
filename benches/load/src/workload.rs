//! What is published to compressed streams: pages that change a little or much, and signals.

use std::fmt::Write;

/// One kind of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Workload {
    /// A table of which 10 of 200 rows change.
    FewChanges,
    /// The same table; 100 rows change.
    ManyChanges,
    /// Three numbers.
    Signals,
}

impl Workload {
    pub(crate) const ALL: [Self; 3] = [Self::FewChanges, Self::ManyChanges, Self::Signals];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::FewChanges => "page, few changes",
            Self::ManyChanges => "page, many changes",
            Self::Signals => "signals",
        }
    }

    /// The same texts each time.
    pub(crate) fn events(self) -> Events {
        let mut random = Random(7);
        let values = (0..ROWS).map(|_| random.below(100_000)).collect();
        Events { workload: self, random, values }
    }
}

/// Texts without an end.
#[derive(Debug)]
pub(crate) struct Events {
    workload: Workload,
    random: Random,
    values: Vec<u64>,
}

impl Iterator for Events {
    type Item = String;

    fn next(&mut self) -> Option<String> {
        let changes = match self.workload {
            Workload::FewChanges => 10,
            Workload::ManyChanges => 100,
            Workload::Signals => return Some(self.signals()),
        };
        for _ in 0..changes {
            let row = self.random.below(ROWS) as usize;
            self.values[row] = self.random.below(100_000);
        }
        Some(self.page())
    }
}

impl Events {
    fn page(&self) -> String {
        let mut page = String::from("elements <tbody id=rows>");
        for (row, value) in self.values.iter().enumerate() {
            let (whole, rest) = (value / 100, value % 100);
            let class = if value % 3 == 0 { "up" } else { "down" };
            let _infallible = write!(
                page,
                "<tr id=\"row-{row}\"><td class=\"name\">Instrument {row}</td>\
                 <td class=\"price {class}\">{whole}.{rest:02}</td><td class=curr>EUR</td></tr>"
            );
        }
        page + "</tbody>"
    }

    fn signals(&mut self) -> String {
        let random = &mut self.random;
        let (load, users, free) = (random.below(1000), random.below(90), random.below(9_000_000));
        format!(
            "signals {{\"load\":0.{load:03},\"users\":{users},\"memory\":{{\"free\":{free}}},\
             \"host\":\"db-3.example\",\"state\":\"ready\"}}"
        )
    }
}

/// SplitMix64: the same numbers on every machine.
#[derive(Debug)]
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

const ROWS: u64 = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_have_the_sizes_that_they_are_named_after() {
        let lengths = |workload: Workload| workload.events().take(20).map(|text| text.len());
        assert!(lengths(Workload::FewChanges).all(|length| (22_000..24_000).contains(&length)));
        assert!(lengths(Workload::ManyChanges).all(|length| (22_000..24_000).contains(&length)));
        assert!(lengths(Workload::Signals).all(|length| (85..105).contains(&length)));
    }
}
