//! Progress of long work on standard error: a bar in a terminal, one line at the end elsewhere.

use crate::output::say;
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// The progress of one piece of work. Dropped before [`Progress::finish`], it clears its bar.
pub(crate) struct Progress {
    bar: ProgressBar,
    started: Instant,
}

impl Progress {
    /// Work on `total` things, if that is known; `unit` names them ("pictures").
    pub(crate) fn new(what: &'static str, unit: &'static str, total: Option<u64>) -> Progress {
        // indicatif draws nothing when standard error is no terminal.
        let bar = match total {
            Some(total) => ProgressBar::new(total),
            None => ProgressBar::new_spinner(),
        };
        let template = match total {
            Some(_) => format!(
                "{{prefix:>10}} [{{bar:32}}] {{human_pos}}/{{human_len}} {unit} \
                 {{per_sec:.dim}} {{eta:.dim}} {{msg}}"
            ),
            None => {
                format!("{{prefix:>10}} {{spinner}} {{human_pos}} {unit} {{per_sec:.dim}} {{msg}}")
            }
        };
        // The template is ours; should it ever be wrong, the default style still works.
        if let Ok(style) = ProgressStyle::with_template(&template) {
            bar.set_style(style.progress_chars("━╸ "));
        }
        bar.set_prefix(what);
        bar.enable_steady_tick(Duration::from_millis(120));
        Progress {
            bar,
            started: Instant::now(),
        }
    }

    /// `done` things are finished.
    pub(crate) fn set(&self, done: u64) {
        self.bar.set_position(done);
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
}
