//! Reads without the group, and what they say of their age.

use super::group::{group, key, put, read};
use super::net::{Net, ms};
use crate::strong::*;

fn stale(net: &mut Net, n: usize, name: &str) -> Result<Stale<Option<Vec<u8>>>, StrongError> {
    let done = net.get(n, StrongRequest::Stale(Query::Get(vec![key(name)])))?;
    let StrongDone::Stale(Stale {
        found: Finding::Got { mut found, .. },
        revision,
        age_ms,
    }) = done
    else {
        panic!("{done:?}");
    };
    Ok(Stale {
        found: found.pop().flatten().map(|found| found.value),
        revision,
        age_ms,
    })
}

fn age(net: &mut Net, n: usize) -> u64 {
    stale(net, n, "a/k").unwrap().age_ms.unwrap()
}

#[test]
fn a_minority_answers_and_says_how_old_it_is() {
    for (seed, cut) in [(31, "the leader"), (32, "a follower")] {
        let mut net = group(seed, 3);
        net.get(0, put("a/k", b"1")).unwrap();
        net.run_for(ms(300));
        let leader = net.leader().unwrap();
        let away = (leader + usize::from(cut == "a follower")) % 3;
        let rest: Vec<usize> = (0..3).filter(|n| *n != away).collect();
        for n in 0..3 {
            assert!(age(&mut net, n) < 300, "{cut} is cut off");
        }
        net.split(&[&[away], &rest]);
        net.get(rest[0], put("a/k", b"2")).unwrap();
        let begun = net.now;
        let linear = StrongRequest::Read(Query::Get(vec![key("a/k")]));
        let linear = net.ask_for(away, linear, ms(500));
        let first = stale(&mut net, away, "a/k").unwrap();
        assert_eq!(first.found, Some(b"1".to_vec()), "as it was");
        assert_eq!(net.now, begun, "at once");
        net.run_for(ms(10_000));
        let (_, linear) = net.done.remove(&linear).unwrap();
        assert_eq!(linear, Err(StrongError::Unavailable));
        let later = stale(&mut net, away, "a/k").unwrap();
        assert_eq!((later.found, later.revision), (first.found, first.revision));
        let grown = later.age_ms.unwrap() - first.age_ms.unwrap();
        assert!(
            (9_900..=10_000).contains(&grown),
            "{cut} aged by {grown} ms"
        );
        net.heal();
        net.run_for(ms(3_000));
        let healed = stale(&mut net, away, "a/k").unwrap();
        assert_eq!(healed.found, Some(b"2".to_vec()));
        assert!(healed.revision > first.revision && healed.age_ms.unwrap() < 300);
    }
}

/// As long as it takes an old leader to find out, and no longer.
#[test]
fn whoever_still_hears_an_old_leader_is_not_new_for_long() {
    let mut net = group(33, 5);
    net.get(0, put("a/k", b"1")).unwrap();
    let leader = net.leader().unwrap();
    let with = (leader + 1) % 5;
    let rest: Vec<usize> = (0..5).filter(|n| ![leader, with].contains(n)).collect();
    net.split(&[&[leader, with], &rest]);
    net.run_for(ms(900));
    assert_eq!(net.leader(), Some(leader), "it cannot know yet");
    let old = age(&mut net, leader);
    assert!(old > 800, "{old}");
    net.run_for(ms(9_100));
    for n in [leader, with] {
        let age = age(&mut net, n);
        assert!(age > 7_900, "{age}");
    }
}

#[test]
fn a_node_that_is_no_voter_asks_one_and_one_that_was_started_alone_does_not_know() {
    let mut net = Net::new(34, 4).asks_only(3);
    net.start_all();
    let create = |name: &str| {
        StrongRequest::Do(Request::Create {
            namespace: name.into(),
        })
    };
    net.get(0, create("a")).unwrap();
    assert!(net.run_until(net.now + ms(20_000), |net| net.voters(0).len() == 3));
    net.get(0, put("a/k", b"1")).unwrap();
    net.run_for(ms(1_000));
    let asked = stale(&mut net, 3, "a/k").unwrap();
    assert_eq!(asked.found, Some(b"1".to_vec()));
    assert_eq!(stale(&mut net, 3, "a/none").unwrap().found, None);
    let none = stale(&mut net, 3, "b/k");
    let none_such =
        |none: &_| matches!(none, Err(StrongError::Refused(Refusal::NoNamespace { .. })));
    assert!(none_such(&none), "{none:?}");
    // One voter that the asker reaches, and no majority.
    net.split(&[&[1, 3], &[0], &[2]]);
    net.run_for(ms(5_000));
    let cut = stale(&mut net, 3, "a/k").unwrap();
    assert!(cut.age_ms.unwrap() > 4_000, "{cut:?}");
    net.crash(1);
    net.start(1);
    net.split(&[&[1, 3], &[0], &[2]]);
    let again = stale(&mut net, 1, "a/k").unwrap();
    assert_eq!(again.age_ms, None, "it has heard of nobody since");
    assert_eq!(read(&mut net, 1, "a/k"), Err(StrongError::Unavailable));
    net.heal();
    net.run_for(ms(5_000));
    assert!(age(&mut net, 1) < 300);
}

/// What is agreed on without a voter that hears the leader, and is not heard, is not taken for known.
#[test]
fn a_voter_that_lacks_what_is_agreed_on_does_not_count_itself_new() {
    let mut net = group(35, 3);
    net.config.snapshot_after_bytes = 1 << 20;
    net.get(0, put("a/k", b"1")).unwrap();
    net.run_for(ms(1_000));
    let leader = net.leader().unwrap();
    let lags = (leader + 1) % 3;
    // Its disk takes nothing: it hears all, and can apply nothing of it.
    net.hosts[lags].stuck = true;
    net.run_for(ms(100));
    for n in 0..20_u8 {
        net.get(leader, put("a/k", &[n])).unwrap();
    }
    net.run_for(ms(1_500));
    let lagging = stale(&mut net, lags, "a/k").unwrap();
    assert_eq!(lagging.found, Some(b"1".to_vec()));
    assert!(lagging.age_ms.unwrap() > 1_000, "{lagging:?}");
    net.hosts[lags].stuck = false;
    net.run_for(ms(3_000));
    let caught_up = stale(&mut net, lags, "a/k").unwrap();
    assert_eq!(caught_up.found, Some(vec![19]));
    assert!(caught_up.age_ms.unwrap() < 300, "{caught_up:?}");
}
