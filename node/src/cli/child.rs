//! A command that runs for as long as a lock is held.

use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, kill_process_group, test_kill_process_group, waitid,
};

use super::exit::{Exit, Failure};

/// A command and all that it starts, as a process group of its own: what it has started must not go on without the lock either.
pub(crate) struct Running {
    child: Child,
    group: Pid,
}

impl Running {
    /// Starts it with the fencing token in its environment.
    ///
    /// What runs outside the terminal's own group is stopped when it reads from the terminal, so it has nothing to read there.
    pub(crate) fn start(command: &[OsString], token: u64) -> Result<Self, Failure> {
        let (program, arguments) = command
            .split_first()
            .ok_or_else(|| Failure::new(Exit::Usage, "there is no command to run"))?;
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env("FENCING_TOKEN", token.to_string())
            .process_group(0);
        if io::stdin().is_terminal() {
            command.stdin(Stdio::null());
        }
        let child = command.spawn().map_err(|error| {
            let program = program.to_string_lossy();
            Failure::new(Exit::Failed, format!("{program} cannot be run: {error}"))
        })?;
        let group = Pid::from_child(&child);
        Ok(Self { child, group })
    }

    /// Waits until it has ended, on another thread. Its number stays its own until [`finish`](Self::finish) or [`end`](Self::end).
    pub(crate) fn wait_elsewhere(&self) -> impl FnOnce() + Send + 'static {
        let pid = self.group;
        move || {
            let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
            while matches!(waitid(WaitId::Pid(pid), options), Err(Errno::INTR)) {}
        }
    }

    pub(crate) fn terminate(&self) {
        self.signal(Signal::TERM);
    }

    pub(crate) fn kill(&self) {
        self.signal(Signal::KILL);
    }

    /// The exit code of a command that has ended, as a shell gives it.
    pub(crate) fn finish(mut self) -> Result<ExitCode, Failure> {
        let status = self.child.wait();
        status
            .map(code)
            .map_err(|error| Failure::from_error(Exit::Failed, &error))
    }

    /// Ends it, with all that it has started: asks, and kills what is left after `grace`.
    pub(crate) fn end(mut self, grace: Duration) -> Result<ExitCode, Failure> {
        self.terminate();
        let killed_at = Instant::now() + grace;
        while !self.is_gone() {
            if Instant::now() >= killed_at {
                self.kill();
                break;
            }
            thread::sleep(PAUSE);
        }
        self.finish()
    }

    fn is_gone(&mut self) -> bool {
        // As long as it was not asked how it ended, it counts as one of its group.
        let ended = matches!(self.child.try_wait(), Ok(Some(_)) | Err(_));
        ended && test_kill_process_group(self.group) == Err(Errno::SRCH)
    }

    /// A group that has ended cannot be told, nor need it.
    fn signal(&self, signal: Signal) {
        if let Err(error) = kill_process_group(self.group, signal) {
            tracing::debug!(%error, "a command was not told to end");
        }
    }
}

fn code(status: ExitStatus) -> ExitCode {
    let killed = status.signal().map(|signal| SIGNALLED + signal);
    let code = status.code().or(killed).unwrap_or(1);
    ExitCode::from(u8::try_from(code).unwrap_or(1))
}

/// What shells add to the number of the signal that has ended a command.
const SIGNALLED: i32 = 128;
/// Between two looks at whether it is gone.
const PAUSE: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Running {
        let command = ["sh", "-c", script].map(OsString::from);
        Running::start(&command, 7).unwrap()
    }

    #[test]
    fn the_exit_code_is_the_command_s() {
        let running = start("exit $FENCING_TOKEN");
        running.wait_elsewhere()();
        assert_eq!(running.finish().unwrap(), ExitCode::from(7));
        let killed = start("kill -KILL $$");
        assert_eq!(killed.finish().unwrap(), ExitCode::from(128 + 9));
    }

    #[test]
    fn what_it_started_ends_with_it() {
        let running = start("sleep 60 & sleep 60");
        let group = running.group;
        let code = running.end(Duration::from_secs(30)).unwrap();
        assert_eq!(code, ExitCode::from(128 + 15));
        assert_eq!(test_kill_process_group(group), Err(Errno::SRCH));
    }

    #[test]
    fn what_does_not_end_when_asked_is_killed() {
        let folder = tempfile::tempdir().unwrap();
        let ready = folder.path().join("ready");
        let running = start(&format!(
            "trap '' TERM; touch {}; while :; do sleep 1; done",
            ready.display()
        ));
        while !ready.exists() {
            thread::sleep(PAUSE);
        }
        let code = running.end(Duration::from_millis(50)).unwrap();
        assert_eq!(code, ExitCode::from(128 + 9));
    }
}
