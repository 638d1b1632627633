//! From how collecting an object ended to what is stored and counted: one rule per class.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tracing::{debug, warn};

use super::report::Skip;
use super::{Found, Mode, SweepError, Sweeper};
use crate::bucket::{ListRequest, ObjectRef};
use crate::collect::{Collected, Collector, Ending, Work};
use crate::commit::{CommitError, ObjectId, Settlement};
use crate::config::OnOverwrite;
use crate::failure::{Class, Failure};
use crate::layout;
use crate::state::{Change, FailedObject, LedgerEntry, Outcome, Progress, Quarantined};

/// An archived object is looked at again after this long.
const ARCHIVED_RETRY: Duration = Duration::from_secs(24 * 3600);
/// Failed objects found to be gone that are settled together; each takes two operations of a batch.
const GONE_AT_ONCE: usize = 70;
/// How often a key may change under our hands before it waits for the next sweep.
const MAX_REPLACED: u32 = 3;

/// One object that is being worked on.
struct Job<'a> {
    found: &'a Found,
    failed: Option<&'a FailedObject>,
    /// Whether the state holds progress of it.
    resumed: bool,
}

impl Sweeper {
    /// Works on one object until it is settled or kept by name; `false` when it was neither (a
    /// stop, or an unreachable source).
    pub(super) async fn work(
        &self,
        mut found: Found,
        failed: Option<FailedObject>,
    ) -> Result<bool, CommitError> {
        let Some(collector) = &self.collector else { return Ok(false) };
        let resume = self.state.progress(self.key, &found.object.key)?;
        let resumed = resume.is_some();
        let mut collected = match resume {
            // It was overwritten between an earlier run's records and this one.
            Some(begun) if begun.etag != found.object.etag => Collected {
                ending: Ending::Failed(Failure::new(Class::Replaced, "overwritten while it was collected")),
                progress: begun,
                work: Work::default(),
            },
            resume => self.collect(collector, &found.object, resume, failed.as_ref()).await?,
        };
        for _ in 0..MAX_REPLACED {
            let Ending::Failed(Failure { class: Class::Replaced, .. }) = collected.ending else { break };
            let job = Job { found: &found, failed: failed.as_ref(), resumed };
            match self.successor(&job, &collected).await? {
                Successor::Collect(object, resume) => {
                    found.object = object;
                    collected = self.collect(collector, &found.object, resume, failed.as_ref()).await?;
                }
                Successor::Settled => return Ok(true),
                Successor::Unknown(ending) => collected.ending = ending,
            }
        }
        let job = Job { found: &found, failed: failed.as_ref(), resumed };
        if let Ending::Failed(failure) = &collected.ending
            && failure.class == Class::Object
            && self.attempts(&job)? >= self.config.max_attempts
            && let Some(ending) = self.unless_there(&found.object.key, failure).await?
        {
            collected.ending = ending;
        }
        self.settle_object(&job, collected).await
    }

    /// How an object ends that is refused for the last time, where its key cannot be listed: S3 answers
    /// 403 for an object that is gone to whom it does not let list the key. `None`: it is there.
    async fn unless_there(&self, key: &str, refused: &Failure) -> Result<Option<Ending>, CommitError> {
        let failed = |class, reason| Ok(Some(Ending::Failed(Failure::new(class, reason))));
        match self.look_up(key).await {
            Ok(Some(_)) => Ok(None),
            Ok(None) => failed(Class::Gone, "refused, and absent from the listing".to_owned()),
            Err(SweepError::Bucket(error)) => {
                let error = crate::failure::chain(&error);
                failed(Class::Transient, format!("{}; its key cannot be listed: {error}", refused.reason))
            }
            Err(error) => stopped(error).map(Some),
        }
    }

    async fn collect(
        &self,
        collector: &Collector,
        object: &ObjectRef,
        resume: Option<Progress>,
        failed: Option<&FailedObject>,
    ) -> Result<Collected, CommitError> {
        if let Some(ending) = self.without_get(object) {
            return Ok(Collected {
                ending,
                progress: collector.progress(object, resume),
                work: Work::default(),
            });
        }
        let collected = collector.collect(object, resume).await?;
        self.note_answer(&collected.ending, failed);
        let work = &collected.work;
        self.bounds.deliver(work.records);
        self.tally(|report| {
            report.records += work.records;
            report.count_filtered(&work.filtered, &collector.settings.filter);
            report.dropped += work.dropped;
            report.dead_letters += work.dead_letters;
            report.bytes.read += work.read;
            report.bytes.inflated += work.inflated;
            report.bytes.written += work.written;
        });
        Ok(collected)
    }

    /// What is known of an object without reading it.
    fn without_get(&self, object: &ObjectRef) -> Option<Ending> {
        let failed = |class, reason| Some(Ending::Failed(Failure::new(class, reason)));
        if object.archived {
            return failed(Class::Archived, "the object lies in an archive storage class; restore it");
        }
        if object.size > 0 {
            return None;
        }
        if self.bucket.may_be_unfinished(object.last_modified) {
            return failed(Class::Transient, "the file is empty, and may still be written");
        }
        Some(Ending::Complete)
    }

    /// Counts whether the source lets us read at all.
    fn note_answer(&self, ending: &Ending, failed: Option<&FailedObject>) {
        let mut seen = self.reachability();
        match ending {
            Ending::Failed(failure) if failure.class == Class::Object => {
                if !failed.is_some_and(|failed| self.is_refused_alone(failed)) {
                    seen.gets_refused += 1;
                    seen.refusal.get_or_insert_with(|| failure.reason.clone());
                }
            }
            Ending::Failed(failure) if failure.class == Class::Unreachable => {}
            Ending::Failed(_) | Ending::Complete | Ending::Stopped => seen.read_in = Some(self.round()),
        }
    }

    async fn settle_object(&self, job: &Job<'_>, collected: Collected) -> Result<bool, CommitError> {
        let Collected { ending, progress, work } = collected;
        let key = &job.found.object.key;
        match ending {
            Ending::Stopped => {
                self.tally(|report| report.skip_known(Skip::Stopped));
                Ok(false)
            }
            Ending::Complete => {
                let outcome = if progress.ordinal == 0 { Outcome::Empty } else { Outcome::Collected };
                self.put_entry(job, outcome, &progress, None).await?;
                self.tally(|report| match outcome {
                    Outcome::Empty => report.objects.empty += 1,
                    _ => {
                        report.objects.collected += 1;
                        report.objects.late += u64::from(job.found.late);
                    }
                });
                debug!(source = self.config.name, key, records = progress.delivered, "settled");
                Ok(true)
            }
            Ending::Failed(failure) => match failure.class {
                Class::Content => self.quarantine(job, &failure, &progress, work.gets).await,
                Class::Object if self.attempts(job)? >= self.config.max_attempts => {
                    self.quarantine(job, &failure, &progress, work.gets).await
                }
                Class::Object | Class::Transient | Class::Archived | Class::Replaced => {
                    self.keep_by_name(job, &failure).await
                }
                Class::Gone => {
                    self.put_entry(job, Outcome::Gone, &progress, None).await?;
                    self.tally(|report| report.skip_known(Skip::Gone));
                    self.tell_gone(key, &progress);
                    Ok(true)
                }
                Class::Unreachable => {
                    self.tally(|report| {
                        report.objects.failed += 1;
                        report.fail(key, &failure);
                    });
                    self.note_refused(&failure);
                    Ok(false)
                }
            },
        }
    }

    /// Sweeps that tried this object, this one included unless the whole source refuses.
    fn attempts(&self, job: &Job<'_>) -> Result<u32, CommitError> {
        let before = job.failed.map_or(0, |failed| failed.attempts);
        let is_the_source = match job.failed {
            Some(failed) if self.is_refused_alone(failed) => self.refuses_lists(),
            Some(_) | None => self.refuses_all()?,
        };
        Ok(before.saturating_add(u32::from(!is_the_source)))
    }

    async fn quarantine(
        &self,
        job: &Job<'_>,
        failure: &Failure,
        progress: &Progress,
        gets: u32,
    ) -> Result<bool, CommitError> {
        let object = &job.found.object;
        warn!(source = self.config.name, key = object.key, reason = failure.reason, "quarantined");
        let quarantined = Quarantined {
            source: self.config.name.clone(),
            bucket: object.bucket.to_string(),
            key: object.key.clone(),
            etag: object.etag.clone(),
            class: failure.class.word().to_owned(),
            reason: failure.reason.clone(),
            offset: progress.offset,
            records: progress.delivered,
            attempts: gets.max(self.attempts(job)?),
            at: self.clock.ours(),
            size: object.size,
            progress: Some(progress.clone()),
        };
        self.put_entry(job, Outcome::Quarantined, progress, Some(quarantined)).await?;
        self.tally(|report| {
            report.objects.quarantined += 1;
            report.fail(&object.key, failure);
        });
        Ok(true)
    }

    async fn keep_by_name(&self, job: &Job<'_>, failure: &Failure) -> Result<bool, CommitError> {
        let object = &job.found.object;
        let now = self.clock.now();
        let wait = if failure.class == Class::Archived { ARCHIVED_RETRY } else { Duration::ZERO };
        let failed = FailedObject {
            etag: object.etag.clone(),
            size: object.size,
            last_modified: object.last_modified,
            archived: failure.class == Class::Archived,
            leaf: job.found.leaf.head().to_owned(),
            time: job.found.time,
            class: failure.class.word().to_owned(),
            reason: failure.reason.clone(),
            attempts: self.attempts(job)?,
            since: job.failed.map_or(self.round(), |failed| failed.since),
            sweep: self.round(),
            retry_at: now + wait,
        };
        warn!(
            source = self.config.name,
            key = object.key,
            class = failure.class.word(),
            reason = failure.reason,
            "failed; it is tried again"
        );
        let changes = vec![Change::PutFailed(self.key, object.key.clone(), Box::new(failed))];
        self.settle_with(job, changes, true).await?;
        if job.failed.is_none() {
            self.failed.add(job.found.leaf.head(), job.found.time);
        }
        self.tally(|report| {
            report.objects.failed += 1;
            report.fail(&object.key, failure);
        });
        Ok(true)
    }

    async fn put_entry(
        &self,
        job: &Job<'_>,
        outcome: Outcome,
        progress: &Progress,
        quarantined: Option<Quarantined>,
    ) -> Result<(), CommitError> {
        let object = &job.found.object;
        let entry = LedgerEntry {
            etag: object.etag.clone(),
            outcome,
            records: progress.delivered,
            last_modified: object.last_modified,
            settled_at: self.clock.ours(),
            reason: None,
        };
        let mut changes = vec![Change::PutEntry(self.key, object.key.clone(), entry)];
        if job.failed.is_some() {
            changes.push(Change::DeleteFailed(self.key, object.key.clone()));
        }
        // Should it be there again, the same object goes on after what was delivered.
        let keep_progress = outcome == Outcome::Gone && progress.ordinal > 0;
        if job.resumed && !keep_progress {
            changes.push(Change::DeleteProgress(self.key, object.key.clone()));
        }
        changes.extend(quarantined.map(|object| Change::PutQuarantined(self.key.id, Box::new(object))));
        self.settle_with(job, changes, keep_progress).await?;
        if let Some(failed) = job.failed {
            self.failed.remove(&failed.leaf, failed.time);
        }
        Ok(())
    }

    async fn settle_with(
        &self,
        job: &Job<'_>,
        changes: Vec<Change>,
        keep_progress: bool,
    ) -> Result<(), CommitError> {
        let Some(collector) = &self.collector else { return Err(CommitError::Stopped) };
        let object = ObjectId { source: self.key, key: job.found.object.key.clone() };
        collector.committer.settle(Settlement { object, changes, keep_progress }).await
    }

    fn note_refused(&self, failure: &Failure) {
        self.tally(|report| {
            if report.unreachable.is_empty() {
                report.cannot_reach(failure.reason.clone());
            }
        });
    }

    /// Settles objects that an earlier run began and that are no longer there, before a listing
    /// without them closes their prefix. One LIST each; what failed is tried by name anyway.
    pub(super) async fn settle_vanished(&self) -> Result<(), SweepError> {
        let Mode::Collect(committer) = &self.mode else { return Ok(()) };
        for (key, progress) in self.state.all_progress(self.key)? {
            let entry = self.state.entry(self.key, &key)?;
            let known =
                entry.is_some_and(|entry| entry.outcome == Outcome::Gone && entry.etag == progress.etag);
            if known || self.is_failed(&key)? || !self.is_taken(&key) {
                continue;
            }
            match self.look_up(&key).await {
                Ok(None) => {}
                Ok(Some(_)) => continue,                     // its listing finds it
                Err(SweepError::Bucket(_)) => return Ok(()), // the next sweep looks again
                Err(error) => return Err(error),
            }
            let gone = self.gone(&progress.etag, progress.delivered, self.clock.ours());
            let changes = vec![Change::PutEntry(self.key, key.clone(), gone)];
            let object = ObjectId { source: self.key, key: key.clone() };
            committer.settle(Settlement { object, changes, keep_progress: true }).await?;
            self.tally(|report| report.skip(Skip::Gone));
            self.tell_gone(&key, &progress);
        }
        Ok(())
    }

    /// Whether the configuration takes a key: of another one, what was begun stays as it is, should
    /// the configuration take it again.
    fn is_taken(&self, key: &str) -> bool {
        self.config.file_pattern.is_match(key) && !layout::is_digest(self.config.log_type, key)
    }

    /// Settles failed objects that a complete listing lacks: a GET need not tell that they are gone,
    /// since S3 answers 403 to whom it does not let list the key.
    pub(super) async fn settle_gone(&self, absent: &[(String, FailedObject)]) -> Result<(), SweepError> {
        let Mode::Collect(committer) = &self.mode else { return Ok(()) };
        for part in absent.chunks(GONE_AT_ONCE) {
            let (mut changes, mut gone) = (Vec::new(), Vec::new());
            for (key, failed) in part {
                let is_as_listed =
                    self.state.failed(self.key, key)?.is_some_and(|now| now.etag == failed.etag);
                if !is_as_listed || self.is_in_flight(key) {
                    continue; // it was tried since
                }
                let progress = self.state.progress(self.key, key)?;
                let delivered = progress.as_ref().map_or(0, |progress| progress.delivered);
                let entry = self.gone(&failed.etag, delivered, failed.last_modified);
                changes.push(Change::PutEntry(self.key, key.clone(), entry));
                changes.push(Change::DeleteFailed(self.key, key.clone()));
                gone.push((key, failed, progress));
            }
            committer.apply(changes).await?;
            for (key, failed, progress) in gone {
                self.failed.remove(&failed.leaf, failed.time);
                self.tally(|report| match self.is_of_this_sweep(failed) {
                    true => {
                        report.take_back(key, failed.class());
                        report.skip_known(Skip::Gone);
                    }
                    false => report.skip(Skip::Gone),
                });
                if let Some(progress) = progress {
                    self.tell_gone(key, &progress);
                }
            }
        }
        Ok(())
    }

    /// Whether it was this sweep that tried a failed object last, and counted it.
    pub(super) fn is_of_this_sweep(&self, failed: &FailedObject) -> bool {
        (self.record.sweeps..=self.round()).contains(&failed.sweep)
    }

    /// The ledger's entry of an object that is no longer there.
    fn gone(&self, etag: &str, records: u64, last_modified: DateTime<Utc>) -> LedgerEntry {
        let settled_at = self.clock.ours();
        let etag = etag.to_owned();
        LedgerEntry { etag, outcome: Outcome::Gone, records, last_modified, settled_at, reason: None }
    }

    /// Names an object that was deleted after some of its records were delivered: the rest of
    /// them will not come.
    fn tell_gone(&self, key: &str, progress: &Progress) {
        if progress.ordinal == 0 {
            return;
        }
        let records = progress.delivered;
        warn!(source = self.config.name, key, records, "deleted while it was collected");
        let reason = format!("deleted while it was collected, after {records} of its records");
        self.tally(|report| report.fail(key, &Failure::new(Class::Gone, reason)));
    }

    /// The object that a key holds now.
    async fn look_up(&self, key: &str) -> Result<Option<ObjectRef>, SweepError> {
        let request = ListRequest { prefix: key.to_owned(), page_size: 1, ..ListRequest::default() };
        let page = self.page(&request).await?;
        Ok(page.objects.into_iter().find(|object| object.key == key))
    }

    /// What took the place of a replaced object. Where nothing of the old one was delivered, the
    /// new one is the first that we get, and is collected whatever `on_overwrite` says.
    async fn successor(&self, job: &Job<'_>, collected: &Collected) -> Result<Successor, CommitError> {
        let key = &job.found.object.key;
        let object = match self.look_up(key).await {
            Ok(Some(object)) => object,
            Ok(None) => {
                let gone = Failure::new(Class::Gone, "deleted after it was listed");
                return Ok(Successor::Unknown(Ending::Failed(gone)));
            }
            Err(SweepError::Bucket(error)) => {
                let failure = Failure::new(Class::Transient, crate::failure::chain(&error));
                return Ok(Successor::Unknown(Ending::Failed(failure)));
            }
            Err(error) => return stopped(error).map(Successor::Unknown),
        };
        let delivered = collected.progress.delivered + collected.progress.dead_letters;
        let grew = collected.progress.unfinished || self.bucket.may_be_unfinished(object.last_modified);
        if grew {
            // A file that was read while it grew: what was delivered is its beginning.
            let resume = Progress { etag: object.etag.clone(), ..collected.progress.clone() };
            return Ok(Successor::Collect(object, Some(resume)));
        }
        if delivered > 0 && self.config.on_overwrite == OnOverwrite::Ignore {
            warn!(
                source = self.config.name,
                key,
                records = delivered,
                "overwritten while it was collected; the new object is ignored"
            );
            let mut progress = collected.progress.clone();
            progress.etag = object.etag.clone();
            let found = Found { object, ..job.found.clone() };
            self.put_entry(&Job { found: &found, ..*job }, Outcome::Replaced, &progress, None).await?;
            self.tally(|report| report.skip_known(Skip::Replaced));
            return Ok(Successor::Settled);
        }
        self.tally(|report| {
            report.skip_known(Skip::Replaced);
            report.objects.listed += 1;
        });
        Ok(Successor::Collect(object, None))
    }
}

/// What follows a replaced object.
enum Successor {
    /// Collect this one, after what its beginning delivered already.
    Collect(ObjectRef, Option<Progress>),
    /// The key is settled.
    Settled,
    /// The key could not be looked at, or holds nothing: how the object ends.
    Unknown(Ending),
}

/// How an object ends whose key could not be listed because the sweep itself ends.
fn stopped(error: SweepError) -> Result<Ending, CommitError> {
    match error {
        SweepError::Commit(error) => Err(error),
        SweepError::State(error) => Err(error.into()),
        SweepError::History(error) => Err(error.into()),
        SweepError::Stopped | SweepError::Bounded | SweepError::Unread | SweepError::Bucket(_) => {
            Ok(Ending::Stopped)
        }
    }
}

#[cfg(test)]
mod tests;
