//! What a system takes beside searches: disk, opening, deletes.

use std::path::Path;

use bitkin_benches::Result;
use bitkin_benches::measure::Spread;
use serde_json::json;

use super::{Contender, Entry, Plan, Question};
use crate::codes::{read_numbers, write_numbers};
use crate::peers::Say;
use crate::report::GOOD;
use crate::system::{Params, bytes_on_disk, evict};
use crate::truth::Truth;
use crate::work::Work;

impl Plan {
    /// What stays on disk, how it is opened again, and what deletes cost; at the settings `params`.
    pub(super) fn persist(
        &self,
        work: &Work,
        scratch: &Path,
        contender: &mut Contender,
        params: &Params,
        say: Say<'_>,
    ) -> Result<()> {
        let Some(mut peer) = contender.peer.take() else {
            return Ok(());
        };
        contender.costs.peak_bytes = peer.peak();
        if !peer.can("save") {
            return Ok(());
        }
        say(&format!("opening {} again", contender.label()));
        peer.ask(&json!({"do": "save"}), self.patience)?;
        let deletes = peer.can("delete");
        drop(peer);
        contender.costs.disk_bytes = Some(bytes_on_disk(&contender.folder)?);
        let k = 10.min(work.rows.rows());
        let load = json!({
            "do": "load", "query": work.queries.path(), "k": k, "threads": 1, "params": params,
        });
        let (mut opened, mut first) = (Vec::new(), Vec::new());
        for _ in 0..if self.quick { 1 } else { 3 } {
            contender.peer = None;
            evict(&contender.folder)?;
            let mut peer = self.open(work, contender)?;
            let loaded = peer.ask(&load, self.patience)?;
            opened.extend(loaded["open_seconds"].as_f64());
            first.extend(loaded["first_seconds"].as_f64());
            contender.peer = Some(peer);
        }
        // What is on no disk cannot be cold.
        if self
            .machine
            .get("file_system")
            .is_none_or(|kind| kind != "tmpfs")
        {
            contender.costs.cold_open_seconds = Some(Spread::of(&opened).median);
            contender.costs.cold_first_seconds = Some(Spread::of(&first).median);
        }
        if deletes {
            self.delete(work, scratch, contender, params)?;
        }
        contender.peer = None;
        Ok(())
    }

    fn delete(
        &self,
        work: &Work,
        scratch: &Path,
        contender: &mut Contender,
        params: &Params,
    ) -> Result<()> {
        let gone = |row: usize| row.is_multiple_of(10);
        let rows = work.rows.rows();
        let k = 10.min(rows - rows.div_ceil(10));
        if k == 0 {
            return Ok(());
        }
        let entry = Entry {
            system: 0,
            question: Question {
                k: Some(k),
                radius: None,
            },
            params: params.clone(),
            mode: (1, 1),
            recall: None,
            rounds: Vec::new(),
            micros: Vec::new(),
            error: None,
        };
        let out = scratch.join("nanos.npy");
        let median = |contender: &mut Contender| -> Result<f64> {
            let mut medians = Vec::new();
            for _ in 0..3 {
                let mut nanos = self.time(work, &out, contender, &entry)?;
                nanos.sort_unstable();
                medians.push(nanos[nanos.len() / 2] as f64);
            }
            Ok(Spread::of(&medians).median)
        };
        let before = median(contender)?;
        let deleted: Vec<u64> = (0..rows)
            .filter(|row| gone(*row))
            .map(|row| row as u64)
            .collect();
        let ids = scratch.join("deleted.npy");
        write_numbers(&ids, &deleted)?;
        let command = json!({"do": "delete", "ids": ids});
        let answer = contender.peer()?.ask(&command, self.patience)?;
        let seconds = answer["seconds"].as_f64();
        contender.costs.deletes_per_second = seconds.map(|seconds| deleted.len() as f64 / seconds);
        contender.costs.speed_after_deletes = Some(before / median(contender)?);
        let answers = scratch.join("left");
        let command = json!({
            "do": "answers", "queries": work.queries.path(), "k": k, "out": answers,
        });
        contender.peer()?.ask(&command, self.patience)?;
        let ids = read_numbers(&scratch.join("left.ids.npy"))?;
        let truth = Truth::work_out(&work.rows, &work.queries, |row| !gone(row));
        let recall = truth.recall_of_nearest(work, k, &ids, |row| !gone(row))?;
        contender.costs.recall_after_deletes = Some(recall);
        Ok(())
    }
}

/// The settings with which a system answered single queries fastest while it found enough; or else
/// the last ones, which find most.
pub(super) fn fastest<'a>(entries: impl Iterator<Item = &'a Entry>) -> Params {
    let single = entries.filter(|entry| entry.mode == (1, 1) && entry.error.is_none());
    let single: Vec<&Entry> = single.collect();
    let good = single
        .iter()
        .filter(|entry| entry.recall.is_some_and(|recall| recall >= GOOD));
    let fastest = good.max_by(|a, b| {
        let speed = |entry: &Entry| Spread::of(&entry.rounds).median;
        speed(a).total_cmp(&speed(b))
    });
    let chosen = fastest.or(single.last());
    chosen.map(|entry| entry.params.clone()).unwrap_or_default()
}
