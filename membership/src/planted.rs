//! Bugs that are put in on purpose, so that the simulator can prove that it finds them. For tests alone.
//!
//! Each is a slip that a change could really make, hooked in with one line where it would be made. A bug is planted for one thread,
//! so that cores stay deterministic and tests run side by side. Without the feature `planted` there is no way to plant one, and
//! [`planted`] is `false` when the program is compiled: nothing of any bug is left.
//!
//! They are listed here since this is the lowest crate that has one of them.

macro_rules! bugs {
    ($($bug:ident $name:literal: $promise:literal;)+) => {
        /// A bug that can be planted.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Bug {
            $(#[doc = concat!("Breaks: ", $promise, ".")] $bug,)+
        }

        #[cfg(feature = "planted")]
        impl Bug {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$bug,)+];

            /// Its name on the command line: what goes wrong.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$bug => $name,)+ }
            }

            /// The promise that it breaks.
            #[must_use]
            pub const fn promise(self) -> &'static str {
                match self { $(Self::$bug => $promise,)+ }
            }
        }
    };
}

bugs! {
    AnswerBeforeDurable "answer-before-durable": "an acknowledged write is durable here";
    AckBeforeDurable "ack-before-durable": "a replica acknowledges what is durable there";
    SendBeforeDurable "send-before-durable": "a delta leaves only once a crash cannot undo its dot";
    ReadBeforeDurable "read-before-durable": "what was shown is never undone by a crash";
    FailedBatchStored "failed-batch-stored": "a batch that the disk refused is not taken for stored";
    FullDiskForgets "full-disk-forgets": "what a full disk refused goes down once there is room";
    OutboxDroppedOnReconnect "outbox-dropped-on-reconnect": "a delta waits until its peer has acknowledged it";
    OutboxNotRetargeted "outbox-not-retargeted": "waiting deltas follow their key to its new replicas";
    RefusalTakenForDelivery "refusal-taken-for-delivery": "what a peer refused is offered again";
    AckCountedTwice "ack-counted-twice": "a level counts replicas, not acknowledgements";
    LateAnswerTaken "late-answer-taken": "an answer to a question of a former run answers no other";
    ReplicaIdReused "replica-id-reused": "a dot is used once, ever: a restored store draws a new replica id";
    DotsNotDurable "dots-not-durable": "a dot is used once, ever: also after a crash";
    TombstoneForgottenByClock "tombstone-forgotten-by-clock": "a deletion is not forgotten because time has passed";
    MergeByArrival "merge-by-arrival": "order and repetition of deliveries never matter";
    MoveBeforeData "move-before-data": "a new replica counts only once it has the data";
    RestoredCountsAsComplete "restored-counts-as-complete": "a restored store counts only once it was compared";
    CopyDroppedEarly "copy-dropped-early": "a copy is dropped only once every replica has it";
    PeersNotIndexed "peers-not-indexed": "a comparison finds all that one side lacks";
    FirstAnswerWins "first-answer-wins": "a read merges as many replicas as its level asks for";
    DamageTakenForAbsence "damage-taken-for-absence": "a damaged record is repaired from the other replicas";
    SuspicionNotRefuted "suspicion-not-refuted": "a node that lives is held for alive in the end";
    DeadNotProbed "dead-not-probed": "the halves of a split mesh find each other again";
    StrongReadUnasked "strong-read-unasked": "a strong read is answered by who leads, and was sure of it after it was asked";
    StrongRetryApplied "strong-retry-applied": "a strong request is applied once, however often it is sent";
    TokenForgotten "token-forgotten": "a fencing token is greater than all before it";
}

/// Whether this thread has this bug.
#[cfg(not(feature = "planted"))]
#[inline]
#[must_use]
pub const fn planted(_: Bug) -> bool {
    false
}

/// Whether this thread has this bug.
#[cfg(feature = "planted")]
#[must_use]
pub fn planted(bug: Bug) -> bool {
    PLANTED.get() == Some(bug)
}

/// Runs something on this thread with a bug planted.
#[cfg(feature = "planted")]
pub fn with<T>(bug: Bug, run: impl FnOnce() -> T) -> T {
    struct Uproot(Option<Bug>);
    impl Drop for Uproot {
        fn drop(&mut self) {
            PLANTED.set(self.0);
        }
    }
    let _before = Uproot(PLANTED.replace(Some(bug)));
    run()
}

#[cfg(feature = "planted")]
std::thread_local! {
    static PLANTED: core::cell::Cell<Option<Bug>> = const { core::cell::Cell::new(None) };
}

#[cfg(all(test, feature = "planted"))]
mod tests {
    use super::*;

    #[test]
    fn a_bug_is_there_on_one_thread_and_for_one_run() {
        with(Bug::DeadNotProbed, || {
            assert!(planted(Bug::DeadNotProbed));
            assert!(!planted(Bug::MergeByArrival));
            std::thread::scope(|scope| {
                scope.spawn(|| assert!(!planted(Bug::DeadNotProbed)));
            });
        });
        assert!(!planted(Bug::DeadNotProbed));
    }
}
