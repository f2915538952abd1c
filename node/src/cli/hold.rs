//! Holding a lock for as long as this program runs.

use std::ffi::OsString;
use std::io::Read;
use std::process::ExitCode;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use meshwork_sync::Key;
use serde_json::Value as Json;

use super::child::Running;
use super::client::{Door, told};
use super::events::{Events, Frame};
use super::exit::{Exit, Failure};
use super::key::{address, percent};
use super::output;
use super::signals::Signals;

/// Which lock, and how.
#[derive(Debug)]
pub(crate) struct Wanted<'a> {
    pub(crate) lock: &'a Key,
    pub(crate) ttl: Duration,
    pub(crate) wait: Wait,
    pub(crate) shared: bool,
    pub(crate) note: &'a str,
}

/// How long to stand in line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    No,
    For(Duration),
    Forever,
}

/// A lock that is held by a stream from the node. When the program ends, so does the stream, and the node gives the lock back.
pub(crate) struct Held {
    pub(crate) token: u64,
    /// For how long the node may say nothing.
    silence_max: Duration,
    heard: Instant,
    tell: SyncSender<News>,
    news: Receiver<News>,
}

/// What can happen meanwhile.
enum News {
    Granted(u64),
    Failed(Failure),
    /// The node still holds the lock, or stands in line.
    Alive,
    /// And why.
    Lost(&'static str),
    /// The command has ended.
    Ended,
    /// Ctrl-C, or SIGTERM.
    Asked,
}

impl Held {
    /// Stands in line for a lock until it is held.
    pub(crate) fn take(door: &Door, wanted: &Wanted<'_>) -> Result<Self, Failure> {
        let (tell, news) = sync_channel(NEWS_MAX);
        listen_to_signals(tell.clone())?;
        let stream = door.post_stream(&wanted.path())?;
        let told = tell.clone();
        spawn("lock", move || listen(stream, &told))?;
        let token = wait(&news, wanted.lock)?;
        Ok(Self {
            token,
            // The node may have been heard of by the group a third of the time before it was heard of here.
            silence_max: wanted.ttl * 2 / 3,
            heard: Instant::now(),
            tell,
            news,
        })
    }

    /// Holds it until this program is asked to end.
    pub(crate) fn until_asked(mut self) -> Result<ExitCode, Failure> {
        loop {
            match self.next() {
                News::Asked => return Ok(ExitCode::SUCCESS),
                News::Lost(why) => return Err(lost(why)),
                News::Granted(_) | News::Failed(_) | News::Alive | News::Ended => {}
            }
        }
    }

    /// Runs a command, and ends it when the lock is lost or this program is asked to end.
    pub(crate) fn run(mut self, command: &[OsString]) -> Result<ExitCode, Failure> {
        let running = Running::start(command, self.token)?;
        let (ended, tell) = (running.wait_elsewhere(), self.tell.clone());
        spawn("command", move || {
            ended();
            // Nobody to tell means that the command was ended.
            drop(tell.send(News::Ended));
        })?;
        let mut asked = false;
        loop {
            match self.next() {
                News::Ended if asked => return running.end(GRACE),
                News::Ended => return running.finish(),
                News::Asked if asked => running.kill(),
                News::Asked => {
                    // It still holds the lock, and may take its time.
                    asked = true;
                    running.terminate();
                    output::person("ending the command; press Ctrl-C again to kill it");
                }
                News::Lost(why) => {
                    running.end(GRACE)?;
                    return Err(lost(why));
                }
                News::Granted(_) | News::Failed(_) | News::Alive => {}
            }
        }
    }

    fn next(&mut self) -> News {
        let silence = self.heard + self.silence_max;
        match self
            .news
            .recv_timeout(silence.saturating_duration_since(Instant::now()))
        {
            Ok(News::Alive) => {
                self.heard = Instant::now();
                News::Alive
            }
            Ok(news) => news,
            Err(RecvTimeoutError::Timeout) => News::Lost("the node has said nothing for too long"),
            Err(RecvTimeoutError::Disconnected) => News::Lost("the node said no more"),
        }
    }
}

impl Wanted<'_> {
    fn path(&self) -> String {
        let address = address("strong/locks", self.lock);
        let mut path = format!("{address}?ttl_ms={}", self.ttl.as_millis());
        match self.wait {
            Wait::No => path.push_str("&wait_ms=0"),
            // 0 would not wait at all.
            Wait::For(time) => path.push_str(&format!("&wait_ms={}", time.as_millis().max(1))),
            Wait::Forever => {}
        }
        if self.shared {
            path.push_str("&shared=1");
        }
        if !self.note.is_empty() {
            path.push_str(&format!("&note={}", percent(self.note.as_bytes())));
        }
        path
    }
}

/// Waits for the grant, and returns its token.
fn wait(news: &Receiver<News>, lock: &Key) -> Result<u64, Failure> {
    let mut quiet = Some(QUIET);
    loop {
        let next = match quiet {
            Some(quiet) => news.recv_timeout(quiet),
            None => news.recv().map_err(RecvTimeoutError::from),
        };
        match next {
            Ok(News::Granted(token)) => return Ok(token),
            Ok(News::Failed(failure)) => return Err(failure),
            Ok(News::Asked) => {
                let message = "stopped before it was this one's turn";
                return Err(Failure::new(Exit::Unavailable, message));
            }
            Ok(News::Alive | News::Ended) => {}
            Ok(News::Lost(_)) | Err(RecvTimeoutError::Disconnected) => {
                return Err(Failure::new(Exit::NoNode, "the node stopped"));
            }
            Err(RecvTimeoutError::Timeout) => {
                quiet = None;
                output::person(format_args!("waiting for {lock}; Ctrl-C gives up"));
            }
        }
    }
}

/// Tells what the node says, until it says no more or nobody listens.
fn listen(stream: impl Read, tell: &SyncSender<News>) {
    for frame in Events::new(stream) {
        if tell.send(news(&frame)).is_err() {
            return;
        }
    }
    // Nobody to tell is nothing to tell.
    drop(tell.send(News::Lost("the node stopped, or its door did")));
}

fn news(frame: &Frame) -> News {
    let data: Json = serde_json::from_str(&frame.data).unwrap_or_default();
    match frame.event.as_str() {
        "granted" => match data.get("token").and_then(Json::as_u64) {
            Some(token) => News::Granted(token),
            None => News::Failed(nonsense()),
        },
        "failed" => News::Failed(told(&data, Exit::Refused).unwrap_or_else(nonsense)),
        "lost" => News::Lost("the node could not keep it alive, or stops"),
        _ => News::Alive,
    }
}

fn nonsense() -> Failure {
    Failure::new(Exit::Failed, "the node's answer makes no sense")
}

fn lost(why: &str) -> Failure {
    Failure::new(Exit::Failed, format!("lost the lock: {why}"))
}

fn listen_to_signals(tell: SyncSender<News>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::from_error(Exit::Failed, &error))?;
    let mut signals = {
        let _within = runtime.enter();
        Signals::listen()?
    };
    spawn("signals", move || {
        loop {
            runtime.block_on(signals.next());
            if tell.send(News::Asked).is_err() {
                return;
            }
        }
    })
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
    let thread = thread::Builder::new().name(name.into()).spawn(work);
    thread
        .map(drop)
        .map_err(|error| Failure::from_error(Exit::Failed, &error))
}

/// What has happened and was not looked at yet.
const NEWS_MAX: usize = 16;
/// After so long a person wants to know what goes on.
const QUIET: Duration = Duration::from_secs(1);
/// How long a command has to end by itself before it is killed.
const GRACE: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(lock: &Key, wait: Wait) -> Wanted<'_> {
        Wanted {
            lock,
            ttl: Duration::from_secs(15),
            wait,
            shared: false,
            note: "",
        }
    }

    #[test]
    fn only_no_wait_is_asked_for_with_nothing() {
        let lock = Key::parse("jobs/a b").unwrap();
        let path = |wait| wanted(&lock, wait).path();
        let base = "strong/locks/jobs/a%20b?ttl_ms=15000";
        assert_eq!(path(Wait::Forever), base);
        assert_eq!(path(Wait::No), format!("{base}&wait_ms=0"));
        let short = Wait::For(Duration::from_micros(1));
        assert_eq!(path(short), format!("{base}&wait_ms=1"));
        let shared = Wanted {
            shared: true,
            note: "me & you",
            ..wanted(&lock, Wait::Forever)
        };
        assert_eq!(
            shared.path(),
            format!("{base}&shared=1&note=me%20%26%20you")
        );
    }

    #[test]
    fn a_stream_that_ends_has_lost_the_lock() {
        let (tell, news) = sync_channel(NEWS_MAX);
        listen(&b":\n\nevent: granted\ndata: {\"token\":7}\n\n"[..], &tell);
        assert_eq!(wait(&news, &Key::parse("n/a").unwrap()).unwrap(), 7);
        assert!(matches!(news.recv(), Ok(News::Lost(_))));
    }

    #[test]
    fn who_waited_in_vain_is_told_so() {
        let (tell, news) = sync_channel(NEWS_MAX);
        let failed = "event: failed\ndata: {\"error\":{\"code\":\"held\",\"message\":\"others held it\"}}\n\n";
        listen(failed.as_bytes(), &tell);
        let failure = wait(&news, &Key::parse("n/a").unwrap()).unwrap_err();
        assert_eq!(failure.exit, Exit::Unavailable);
        assert_eq!(failure.message, "others held it");
    }

    #[test]
    fn a_node_that_says_nothing_has_lost_the_lock() {
        let (tell, news) = sync_channel(NEWS_MAX);
        let held = Held {
            token: 7,
            silence_max: Duration::from_millis(20),
            heard: Instant::now(),
            tell,
            news,
        };
        let command = ["sleep", "60"].map(OsString::from);
        let failure = held.run(&command).unwrap_err();
        assert!(failure.message.contains("said nothing"), "{failure:?}");
    }
}
