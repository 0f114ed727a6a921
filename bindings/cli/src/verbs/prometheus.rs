//! The text format of Prometheus (exposition format 0.0.4).

use super::stats::{CollectionFigures, Figures, unix};
use std::fmt::Write;

/// The figures of a database as Prometheus reads them; `database` is the value of that label.
pub(super) fn text(database: &str, figures: &Figures) -> String {
    let mut text = Text::default();
    let stats = &figures.stats;
    let own: &[(&str, &str)] = &[("database", database)];
    text.family("bitkin_commit", "Number of the last visible commit.");
    text.sample(own, stats.sequence as f64);
    text.family(
        "bitkin_log_bytes",
        "Bytes of the log files that hold records.",
    );
    text.sample(own, stats.log_bytes as f64);
    text.family("bitkin_log_files", "Number of log files.");
    text.sample(own, stats.logs as f64);
    text.family(
        "bitkin_memory_bytes",
        "Bytes of rows in memory, not yet in a segment.",
    );
    text.sample(own, stats.memory_bytes as f64);
    if let Some(time) = figures.segments_written {
        text.family(
            "bitkin_segments_written_timestamp_seconds",
            "When a flush or a merge last wrote a segment, in seconds since 1970.",
        );
        text.sample(own, unix(time));
    }
    type Value = fn(&CollectionFigures) -> u64;
    let each: [(&str, &str, Value); 5] = [
        ("bitkin_rows", "Rows that are not deleted.", |c| {
            c.stats.rows
        }),
        (
            "bitkin_deleted_rows",
            "Deleted rows still in segments, until a merge leaves them out.",
            |c| c.stats.deleted_rows,
        ),
        (
            "bitkin_memory_rows",
            "Rows in memory, not yet in a segment.",
            |c| c.stats.memory_rows,
        ),
        ("bitkin_segments", "Number of segments.", |c| {
            c.stats.segments
        }),
        ("bitkin_code_bits", "Width of the codes in bits.", |c| {
            u64::from(c.stats.bits)
        }),
    ];
    for (name, help, value) in each {
        text.family(name, help);
        for of in &figures.collections {
            let labels = [("database", database), ("collection", &of.stats.name)];
            text.sample(&labels, value(of) as f64);
        }
    }
    text.family(
        "bitkin_segment_bytes",
        "Bytes of the segments, by what they hold.",
    );
    for of in &figures.collections {
        for (part, bytes) in of.parts() {
            let labels = [
                ("database", database),
                ("collection", &of.stats.name),
                ("part", part),
            ];
            text.sample(&labels, bytes as f64);
        }
    }
    text.family(
        "bitkin_model_info",
        "The model that makes the codes; always 1.",
    );
    for of in &figures.collections {
        if let Some(model) = &of.model {
            let labels = [
                ("database", database),
                ("collection", &of.stats.name),
                ("model", model),
            ];
            text.sample(&labels, 1.0);
        }
    }
    text.finish()
}

/// A text in the making.
#[derive(Default)]
struct Text {
    text: String,
    name: String,
    /// The head of the family, until it has a sample.
    head: String,
}

impl Text {
    /// Begins a family of gauges.
    fn family(&mut self, name: &str, help: &str) {
        name.clone_into(&mut self.name);
        let help = help.replace('\\', "\\\\").replace('\n', "\\n");
        self.head = format!("# HELP {name} {help}\n# TYPE {name} gauge\n");
    }

    fn sample(&mut self, labels: &[(&str, &str)], value: f64) {
        self.text.push_str(&std::mem::take(&mut self.head));
        let escaped = |value: &str| {
            let value = value.replace('\\', "\\\\").replace('"', "\\\"");
            value.replace('\n', "\\n")
        };
        let labels: Vec<String> = labels
            .iter()
            .map(|(name, value)| format!("{name}=\"{}\"", escaped(value)))
            .collect();
        // Writing to a String cannot fail.
        let _ = writeln!(self.text, "{}{{{}}} {value}", self.name, labels.join(","));
    }

    fn finish(self) -> String {
        self.text
    }
}
