//! What is shown while nodes on this machine are at work: bars on a terminal, plain lines elsewhere.

use std::io::{self, IsTerminal};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::cli::exit::{Exit, Failure};
use crate::cli::output;

/// Where everybody reports to. Also knows whether the user wants it to end.
#[derive(Debug)]
pub(crate) struct Stage {
    bars: MultiProgress,
    authors: [ProgressBar; 2],
    writes: ProgressBar,
    started: Instant,
    stop: &'static AtomicBool,
}

/// Set by Ctrl-C; there is one for the process, as there is one Ctrl-C.
static STOP: AtomicBool = AtomicBool::new(false);

impl Stage {
    /// Draws on standard error, so that standard output has the result alone.
    pub(crate) fn new() -> Self {
        let target = match io::stderr().is_terminal() {
            true => ProgressDrawTarget::stderr_with_hz(10),
            false => ProgressDrawTarget::hidden(),
        };
        let bars = MultiProgress::with_draw_target(target);
        let bar = |style: ProgressStyle, name: &'static str| {
            bars.add(ProgressBar::new(0).with_style(style).with_prefix(name))
        };
        let authors = [
            bar(bar_style(), "first author "),
            bar(bar_style(), "second author"),
        ];
        let writes = bar(count_style(), "other writes ");
        interrupt_on_ctrl_c();
        Self {
            bars,
            authors,
            writes,
            started: Instant::now(),
            stop: &STOP,
        }
    }

    /// Since the beginning.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Tells what happens.
    pub(crate) fn tell(&self, text: impl std::fmt::Display) {
        let line = format!("{:6.1} s  {text}", self.elapsed().as_secs_f64());
        if self.bars.is_hidden() || self.bars.println(&line).is_err() {
            output::note(line);
        }
    }

    /// The bar of an author; one that does not exist is not shown.
    pub(crate) fn author(&self, number: usize) -> ProgressBar {
        self.authors
            .get(number)
            .cloned()
            .unwrap_or_else(ProgressBar::hidden)
    }

    /// The count of acknowledged writes besides the document.
    pub(crate) const fn writes(&self) -> &ProgressBar {
        &self.writes
    }

    /// Clears the bars away.
    pub(crate) fn close(&self) {
        drop(self.bars.clear());
    }

    /// Whether everybody should stop, because of Ctrl-C or a failure.
    pub(crate) fn stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Asks everybody to stop.
    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits; less if everybody should stop.
    ///
    /// # Errors
    /// [`interrupted`].
    pub(crate) fn pause(&self, time: Duration) -> Result<(), Failure> {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.go_on()?;
            thread::sleep(end.saturating_duration_since(Instant::now()).min(POLL));
        }
        self.go_on()
    }

    /// Polls until there is an answer.
    ///
    /// # Errors
    /// A failure that names `what`, when there is none within `patience`; [`interrupted`].
    pub(crate) fn until<T>(
        &self,
        what: &str,
        patience: Duration,
        mut ask: impl FnMut() -> Option<T>,
    ) -> Result<T, Failure> {
        let end = Instant::now() + patience;
        loop {
            if let Some(answer) = ask() {
                return Ok(answer);
            }
            if Instant::now() > end {
                let message = format!("not within {} s: {what}", patience.as_secs());
                return Err(Failure::new(Exit::Failed, message));
            }
            self.pause(POLL)?;
        }
    }

    fn go_on(&self) -> Result<(), Failure> {
        if self.stopped() {
            Err(interrupted())
        } else {
            Ok(())
        }
    }
}

/// It was called off.
pub(crate) fn interrupted() -> Failure {
    Failure::new(Exit::Failed, "interrupted")
}

/// Without it the nodes would be left to notice by themselves, and the folder would stay.
fn interrupt_on_ctrl_c() {
    let wait = || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime
            && runtime.block_on(tokio::signal::ctrl_c()).is_ok()
        {
            STOP.store(true, Ordering::Relaxed);
        }
    };
    // It ends with the process.
    drop(thread::Builder::new().name("ctrl-c".into()).spawn(wait));
}

fn bar_style() -> ProgressStyle {
    style("{prefix} {bar:40.cyan/blue} {pos:>6}/{len} commits  {msg}")
}

fn count_style() -> ProgressStyle {
    style("{prefix} {spinner} {pos} acknowledged  {msg}")
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

const POLL: Duration = Duration::from_millis(15);
