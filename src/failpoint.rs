//! Places where a test lets the process die, as a power cut would: between two writes.
//!
//! With the feature `testing`, `S3SWEEP_FAILPOINT="name:n"` aborts the process at the n-th hit of
//! the place `name`, counted from 1, and `"name:n:panic"` panics there; a text of another form
//! aborts at the first hit of all. A test in this process may watch what its threads pass. Without
//! the feature a hit is nothing.
//!
//! The environment and a static stand here against the rules of the other rooms: the process that
//! dies is the binary as it ships, whose configuration knows no such setting, and whose layers
//! hand nothing down to where it dies.

/// Says that the process is at the place `name`. Never returns where a test wants it to die there.
#[inline]
pub fn hit(name: &'static str) {
    #[cfg(feature = "testing")]
    armed::hit(name);
    #[cfg(not(feature = "testing"))]
    let _ = name;
}

#[cfg(feature = "testing")]
pub use armed::watch;

#[cfg(feature = "testing")]
mod armed {
    use std::cell::RefCell;
    use std::sync::OnceLock;
    use std::sync::atomic::{AtomicU64, Ordering};

    /// Read once; `None` when no place is named.
    static ARMED: OnceLock<Option<Armed>> = OnceLock::new();

    pub(super) struct Armed {
        pub name: String,
        /// Hits that are left, the deadly one included.
        pub left: AtomicU64,
        /// The thread panics there; the process is not aborted.
        pub panics: bool,
    }

    /// Is told each place that is passed.
    type Watcher = Box<dyn Fn(&'static str)>;

    thread_local! {
        static WATCHER: RefCell<Option<Watcher>> = const { RefCell::new(None) };
    }

    /// Lets `watcher` see each place that this thread passes from now on.
    pub fn watch(watcher: impl Fn(&'static str) + 'static) {
        WATCHER.set(Some(Box::new(watcher)));
    }

    pub(super) fn hit(name: &'static str) {
        WATCHER.with_borrow(|watcher| {
            if let Some(watcher) = watcher {
                watcher(name);
            }
        });
        if let Some(armed) = ARMED.get_or_init(from_environment)
            && armed.is_over(name)
        {
            assert!(!armed.panics, "the failpoint {name}");
            std::process::abort();
        }
    }

    #[allow(
        clippy::disallowed_methods,
        reason = "no setting: the configuration of the program under test stays as it ships"
    )]
    fn from_environment() -> Option<Armed> {
        let text = std::env::var("S3SWEEP_FAILPOINT").ok()?;
        // a test that is mistyped must not pass
        Some(Armed::parse(&text).unwrap_or_else(|| std::process::abort()))
    }

    impl Armed {
        pub fn parse(text: &str) -> Option<Self> {
            let (name, rest) = text.split_once(':')?;
            let (count, panics) = match rest.split_once(':') {
                Some((count, "panic")) => (count, true),
                Some(_) => return None,
                None => (rest, false),
            };
            let count = count.parse().ok().filter(|count| *count > 0)?;
            Some(Armed { name: name.to_owned(), left: AtomicU64::new(count), panics })
        }

        /// Counts a hit; whether it is the deadly one.
        pub fn is_over(&self, name: &str) -> bool {
            name == self.name && self.left.fetch_sub(1, Ordering::Relaxed) == 1
        }
    }
}

#[cfg(all(test, feature = "testing"))]
mod tests {
    use super::armed::Armed;

    #[test]
    fn a_thread_is_watched_on_its_own() {
        let (sender, seen) = std::sync::mpsc::channel();
        super::watch(move |name| sender.send(name).expect("the test listens"));
        super::hit("here");
        std::thread::spawn(|| super::hit("elsewhere")).join().expect("it ends");
        super::hit("there");
        assert_eq!(seen.try_iter().collect::<Vec<_>>(), ["here", "there"]);
    }

    #[test]
    fn the_nth_hit_of_the_name_is_the_last() {
        let armed = Armed::parse("here:3").expect("a name and a count");
        let hits = ["here", "there", "here", "there", "here", "here"].map(|name| armed.is_over(name));
        assert_eq!(hits, [false, false, false, false, true, false]);
        assert!(!armed.panics && Armed::parse("here:3:panic").is_some_and(|armed| armed.panics));
        for text in
            ["", "here", "here:", "here:x", "here:0", "here:-1", "here:1:", "here:1:abort", "here:panic"]
        {
            assert!(Armed::parse(text).is_none(), "{text:?}");
        }
    }
}
