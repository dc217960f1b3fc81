//! What goes wrong in a scenario.

use std::time::Duration;

use starwheel::testing::{LinkFaults, StoreFaults, StoreKey, StoreRestart};

use crate::{scenario::Chaos, ticks::Ticker};

impl Chaos {
    pub(crate) fn break_something(&mut self) {
        match self.random.below(100) {
            0..20 => self.change_the_way_to_the_store(),
            20..35 => self.change_the_way_to_a_worker(),
            35..45 => {
                let machine = self.random.below(self.machines.count());
                self.machines.cut(machine);
            }
            45..55 => self.stop_or_resume_a_machine(),
            55..64 => self.stop_or_resume_a_worker(),
            64..68 => self.kill(),
            68..77 => self.restart_the_store(),
            77..83 => match self.random.percent(60) {
                true => self.machines.resume_store(),
                false => self.machines.stop_store(),
            },
            83..89 => match self.random.percent(60) {
                true => self.machines.make_room(),
                false => self.machines.fill_store(),
            },
            89..93 => {
                self.incidents += 1;
                let kept = self.random.pick(&[0, 1, 5]);
                self.machines.trim_log(kept);
            }
            93..97 => self.delete_a_key(),
            _ => self.set_the_clock(),
        }
    }

    fn change_the_way_to_the_store(&mut self) {
        let machine = self.random.below(self.machines.count());
        let mut faults = StoreFaults::default();
        faults.delay_max = Duration::from_millis(self.random.pick(&[0, 0, 3, 50]));
        faults.cuts_percent = self.random.pick(&[0, 0, 5, 20]);
        faults.reconnect_max = Duration::from_millis(self.random.pick(&[0, 100, 1_000]));
        self.machines.set_store_faults(machine, faults);
    }

    fn change_the_way_to_a_worker(&mut self) {
        let at = self.a_worker();
        let mut faults = LinkFaults::default();
        faults.delay_max = Duration::from_millis(self.random.pick(&[0, 0, 5, 50]));
        faults.history_delay_max = Duration::from_millis(self.random.pick(&[0, 0, 10, 200]));
        faults.queue_events = self.random.pick(&[2, 20, 65_536]);
        self.machines.set_link_faults(at, faults);
    }

    fn a_worker(&mut self) -> (usize, usize) {
        let machine = self.random.below(self.machines.count());
        (machine, self.random.below(self.machines.workers(machine)))
    }

    fn stop_or_resume_a_machine(&mut self) {
        let machine = self.random.below(self.machines.count());
        self.stopped[machine] = !self.stopped[machine];
        match self.stopped[machine] {
            true => self.machines.stop(machine),
            false => self.machines.resume(machine),
        }
        let tickers = self.tickers.iter_mut().filter(|ticker| ticker.at.0 == machine);
        tickers.for_each(|ticker| ticker.was_stopped = true);
    }

    fn stop_or_resume_a_worker(&mut self) {
        let at = self.a_worker();
        match self.random.percent(40) {
            true => self.machines.resume_worker(at),
            false => {
                let mut faults = LinkFaults::default();
                faults.queue_events = 2;
                self.machines.set_link_faults(at, faults);
                self.machines.stop_worker(at);
            }
        }
        let tickers = self.tickers.iter_mut().filter(|ticker| ticker.at == at);
        tickers.for_each(|ticker| ticker.was_stopped = true);
    }

    fn kill(&mut self) {
        let machine = self.random.below(self.machines.count());
        self.leave_machine(machine);
        self.machines.kill(machine);
        self.processes[machine] += 1;
        self.stopped[machine] = false;
        self.tickers.push(Ticker::start(&mut self.machines, (machine, 0)));
        self.harvest.count_kill();
    }

    fn restart_the_store(&mut self) {
        if self.is_calm {
            // A machine that has not heard of the new generation does not know its ids.
            if !self.stopped.contains(&true) {
                self.machines.restart_store(StoreRestart::Complete);
                self.machines.resume_store();
                self.machines.make_room();
                self.machines.advance(Duration::from_secs(8));
            }
            return;
        }
        let restart = match self.random.below(10) {
            0..3 => StoreRestart::Complete,
            3..9 => StoreRestart::WithoutLast(self.random.pick(&[1, 2, 5, 30])),
            _ => {
                // It does not know what it has had from whom.
                self.expected.remembers_batches = false;
                self.expected.remembers_ends = false;
                StoreRestart::Empty
            }
        };
        self.machines.restart_store(restart);
    }

    fn delete_a_key(&mut self) {
        if self.is_calm {
            return;
        }
        self.incidents += 1;
        let room = self.random.below(self.log.rooms.len());
        let history = StoreKey::History(self.log.rooms[room].topic());
        let meta = StoreKey::Meta;
        let keys = [
            StoreKey::Log,
            StoreKey::Generations,
            StoreKey::LastPlaces,
            StoreKey::EarlierPlaces,
            history,
            meta,
        ];
        let key = &keys[self.random.below(keys.len())];
        self.expected.remembers_ends &= !matches!(key, StoreKey::History(_));
        if matches!(key, StoreKey::Meta) {
            self.expected.remembers_batches = false;
        }
        self.machines.delete_key(key);
    }

    fn set_the_clock(&mut self) {
        if self.is_calm {
            return;
        }
        let years = self.random.pick(&[1, 40, 56, 300]);
        self.machines.set_store_clock(Duration::from_secs(years * 365 * 24 * 60 * 60));
        // The store forgets processes that it has not heard of for an hour.
        (self.expected.remembers_keys, self.expected.remembers_batches) = (false, false);
        // Histories expire.
        self.expected.remembers_ends = false;
        self.incidents += 1;
    }
}
