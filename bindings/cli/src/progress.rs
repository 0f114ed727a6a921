//! Progress of long work on standard error: a bar in a terminal, one line at the end elsewhere.

use crate::interrupt;
use crate::output::{grouped, say};
use bitkin::Activity;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use std::fmt::Write;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Work that is done sooner shows no bar: it would only flash.
const PATIENCE: Duration = Duration::from_millis(400);

/// The progress of one piece of work. Dropped before [`Progress::finish`], it clears its bar.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
    shown: AtomicBool,
}

impl Progress {
    /// Work on `total` things, if that is known; `unit` names them ("pictures").
    pub(crate) fn new(what: &'static str, unit: &'static str, total: Option<u64>) -> Progress {
        let template = match total {
            Some(_) => format!(
                "{{prefix:>10}} [{{bar:32}}] {{human_pos}}/{{human_len}} {unit} \
                 {{rate:.dim}} {{eta:.dim}} {{msg}}"
            ),
            None => {
                format!("{{prefix:>10}} {{spinner}} {{human_pos}} {unit} {{rate:.dim}} {{msg}}")
            }
        };
        Progress::with_template(what, total, &template)
    }

    /// Work on so many bytes, about; without a number, work of which is known only that it goes on.
    pub(crate) fn bytes(what: &'static str, total: Option<u64>) -> Progress {
        let template = match total {
            Some(_) => {
                "{prefix:>10} [{bar:32}] {decimal_bytes}/{decimal_total_bytes} \
                 {decimal_bytes_per_sec:.dim} {eta:.dim} {msg}"
            }
            None => "{prefix:>10} {spinner} {elapsed:.dim} {msg}",
        };
        Progress::with_template(what, total, template)
    }

    fn with_template(what: &'static str, total: Option<u64>, template: &str) -> Progress {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        // The templates are ours; should one ever be wrong, the default style still works.
        if let Ok(style) = ProgressStyle::with_template(template) {
            let style = style.with_key("rate", |state: &ProgressState, out: &mut dyn Write| {
                // What cannot be written is not shown.
                let _ = write!(out, "{}/s", grouped(state.per_sec() as u64));
            });
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_prefix(what);
        Progress {
            bar,
            started: Instant::now(),
            shown: AtomicBool::new(false),
        }
    }

    /// `done` things are finished.
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
        if self.started.elapsed() > PATIENCE && !self.shown.swap(true, Ordering::Relaxed) {
            // indicatif draws nothing when standard error is no terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
            self.bar.enable_steady_tick(Duration::from_millis(120));
        }
    }

    /// The number of things is (now) known.
    pub(crate) fn set_total(&self, total: u64) {
        if self.bar.length() != Some(total) {
            self.bar.set_length(total);
        }
    }

    /// A remark beside the bar.
    pub(crate) fn remark(&self, text: String) {
        self.bar.set_message(text);
    }

    /// How long the work has taken.
    pub(crate) fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Ends the work: the bar goes, `line` stays.
    pub(crate) fn finish(self, line: impl std::fmt::Display) {
        self.bar.finish_and_clear();
        say(line);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

/// Does work on another thread, and shows meanwhile what share of `total` bytes is `done`; stops it through its
/// activity when the user asks.
pub(crate) fn watched<T: Send>(
    what: &'static str,
    total: Option<u64>,
    activity: &Activity,
    done: impl Fn(&Activity) -> u64,
    work: impl FnOnce() -> T + Send,
) -> T {
    let progress = Progress::bytes(what, total);
    let (sender, result) = channel();
    std::thread::scope(|scope| {
        let worker = scope.spawn(move || {
            // Nobody is gone who waits for it below.
            let _ = sender.send(work());
        });
        loop {
            match result.recv_timeout(Duration::from_millis(50)) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) => {
                    if interrupt::asked() {
                        activity.stop();
                    }
                    let done = done(activity);
                    progress.set(total.map_or(done, |total| done.min(total)));
                }
                Err(RecvTimeoutError::Disconnected) => {
                    // It panicked, and so does this.
                    match worker.join() {
                        Err(panic) => std::panic::resume_unwind(panic),
                        Ok(()) => unreachable!("the work ended without a result"),
                    }
                }
            }
        }
    })
}

/// Does work that does not tell how far it is, and cannot be stopped: only that it goes on is shown.
pub(crate) fn busy<T: Send>(what: &'static str, work: impl FnOnce() -> T + Send) -> T {
    watched(what, None, &Activity::new(), |_| 0, work)
}

/// A duration for people: "850 ms", "12.3 s", "2 min 5 s".
pub(crate) fn lasting(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 0.9995 {
        format!("{:.0} ms", seconds * 1e3)
    } else if seconds < 99.95 {
        format!("{seconds:.1} s")
    } else {
        let whole = seconds.round() as u64;
        format!("{} min {} s", whole / 60, whole % 60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_for_people() {
        let text = |ms| lasting(Duration::from_millis(ms));
        assert_eq!(text(7), "7 ms");
        assert_eq!(text(12_340), "12.3 s");
        assert_eq!(text(125_000), "2 min 5 s");
    }

    #[test]
    fn watched_work_gives_its_result() {
        let activity = Activity::new();
        let result = watched("testing", Some(7), &activity, Activity::bytes_read, || {
            std::thread::sleep(Duration::from_millis(120));
            41 + 1
        });
        assert_eq!(result, 42);
    }
}
