//! Asks a strong group through every node once the faults have stopped.

use std::time::Duration;

use meshwork_sync::Key;

use super::linear::Op;
use super::strong_session::draw;
use super::{Failure, Host, StrongOracle, StrongWrong, strong_ask};

/// Reads every key that was used, and draws from every sequence, through every node; call it when the faults have stopped and nobody
/// else asks. Then checks all that was ever seen. Returns how long it took.
///
/// # Errors
/// [`StrongWrong`]: a node gets no answer within that time, or a promise was broken before or now.
pub async fn settle_strong<H: Host>(
    oracle: &StrongOracle,
    nodes: &[(u32, &H)],
    within: Duration,
) -> Result<Duration, StrongWrong> {
    let Some((_, clock)) = nodes.first() else {
        return Ok(Duration::ZERO);
    };
    let begun = clock.now();
    for (node, host) in nodes {
        while let Err(error) = ask_all(oracle, *host).await {
            let spent = clock.now().saturating_sub(begun);
            if spent >= within {
                return Err(StrongWrong::Unanswered {
                    node: *node,
                    seconds: spent.as_secs(),
                    reason: error.to_string(),
                });
            }
            host.sleep(PAUSE).await;
        }
    }
    let mut wrongs = oracle.wrongs();
    wrongs.extend(oracle.check_sequences());
    wrongs.extend(oracle.check_histories());
    match wrongs.into_iter().next() {
        Some(wrong) => Err(wrong),
        None => Ok(clock.now().saturating_sub(begun)),
    }
}

async fn ask_all<H: Host>(oracle: &StrongOracle, host: &H) -> Result<(), Failure> {
    let down = || Failure::Refused("the node is down".into());
    let mesh = host.mesh().ok_or_else(down)?;
    for keys in oracle.keys().chunks(KEYS_AT_ONCE) {
        let ids: Vec<_> = keys
            .iter()
            .map(|key| oracle.begin(key, host.now(), Op::Read))
            .collect();
        let answer = strong_ask::read_all(&mesh, keys.to_vec(), PATIENCE).await;
        for (n, id) in ids.into_iter().enumerate() {
            let saw = answer.as_ref().map_err(Failure::clone).and_then(|saw| {
                let missing = || Failure::Unknown("a key is missing in the answer".into());
                saw.get(n).copied().ok_or_else(missing)
            });
            oracle.end(id, host.now(), saw);
        }
        answer?;
    }
    let mut sequences = oracle.sequences();
    if sequences.is_empty() {
        // The group is to be asked in any case, and to agree on something.
        sequences.extend(Key::parse("strong/sequence-0").ok());
    }
    for sequence in sequences {
        draw(oracle, (host, &mesh), &sequence, (1, PATIENCE)).await?;
    }
    Ok(())
}

/// Keys in one question.
const KEYS_AT_ONCE: usize = 100;

/// How long one question may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Before it is asked again.
const PAUSE: Duration = Duration::from_millis(200);
