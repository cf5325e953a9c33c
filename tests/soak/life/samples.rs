//! Samples of what the device holds, and what they must say.

use super::*;
use crate::support::world::storage::hash_of;

impl<D: Tested> Life<D> {
    pub(super) fn forget_all(&mut self) {
        self.device.forget();
        self.people.iter().for_each(Person::forget);
        self.world.forget_past();
        // What the store holds is no memory of the library; from now on it was not allocated inside its calls.
        let records = self.device.storage().all();
        self.device.storage().put_back(records);
    }

    pub(super) fn take_sample(&mut self) {
        self.settle();
        self.forget_all();
        let working = live();
        self.close();
        self.device.forget();
        let closed = live();
        let records = self.device.storage().all();
        let of_archive = |key: &&String| key.starts_with("v1/archive/") && key.matches('/').count() == 5;
        let steady = hash_of(&self.people[STEADY].jid);
        let kept = records.keys().filter(of_archive).filter(|key| key.contains(&steady)).count();
        assert!(kept <= KEPT_SESSIONS, "{kept} sessions are kept of a contact who replaces one a week");
        let sample = Sample {
            day: self.day,
            working,
            closed,
            started: 0,
            store: self.device.storage().size(),
            records: records.len(),
            archived: records.keys().filter(of_archive).count(),
            rss: memory::rss(),
        };
        drop(records);
        counted(|| self.device.restart());
        counted(|| self.device.connect());
        self.settle();
        self.forget_all();
        let sample = Sample { started: live(), ..sample };
        println!("{sample}");
        self.samples.push(sample);
    }

    pub fn figures(&self) -> String {
        let counts = &self.counts;
        let first = self.samples.iter().find(|sample| sample.day >= WARM_UP);
        let mut lines = vec![format!("{} days, {counts:?}", self.day), self.watch.figures()];
        lines.extend(first.map(|first| format!("after the warm-up: {first}")));
        lines.extend(self.year_ends().map(|end| format!("after a year: {end}")));
        lines.join("\n")
    }

    fn year_ends(&self) -> impl Iterator<Item = &Sample> {
        self.samples.iter().filter(|sample| sample.day % YEAR == YEAR - 1)
    }

    /// What the whole life must have been.
    pub fn check(&self) {
        let first =
            self.samples.iter().find(|sample| sample.day >= WARM_UP).expect("a life without a warm-up");
        for sample in self.samples.iter().filter(|sample| sample.day > first.day) {
            for (what, now, before) in [
                ("working", sample.working, first.working),
                ("closed", sample.closed, first.closed),
                ("started", sample.started, first.started),
            ] {
                assert!(now - before <= GROWTH, "{what}: {before} bytes are live, later {now}: {sample}");
            }
        }
        let ends: Vec<&Sample> = self.year_ends().collect();
        let devices: usize = self.people.iter().map(|person| person.devices.len()).sum();
        let most = STORE + devices * STORE_OF_DEVICE;
        for end in &ends {
            assert!(end.archived <= KEPT_AT_THE_END, "sessions whose time has passed are kept: {end}");
            assert!(end.store <= most, "{} bytes are stored, of {devices} devices: {end}", end.store);
        }
        if let [first, .., last] = ends[..] {
            assert!(last.store <= first.store + STORE_GROWTH, "the store grows: {first}; {last}");
        }
        // The limits were reached, or they were not tested.
        assert!(self.watch.reached_limits(), "{}", self.watch.figures());
        let Counts { texts, excused, withheld, late, .. } = self.counts;
        assert!(withheld > 0 && late > 0, "nothing came late");
        assert!(excused * 1_000 <= texts, "{excused} of {texts} texts on a pre key that another device used");
    }
}
