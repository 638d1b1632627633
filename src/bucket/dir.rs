//! A local directory that acts as a bucket: a mirror that is replayed, an export at hand.
//!
//! It behaves as S3 does: keys in byte order, delimiter, start-after, pages, an ETag, If-Match.
//! Symbolic links to files are objects, those to directories are not followed. There are no
//! keys that end in `/` or hold `//`, and a name that is not UTF-8 is left out with a warning.
//! File system calls run on the blocking pool; a page reads only the directories on its way.

mod walk;

use std::collections::VecDeque;
use std::fs::{File, Metadata};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use chrono::{DateTime, TimeDelta, Utc};
use futures_util::stream;
use tokio::task::spawn_blocking;

use self::walk::{Found, Walk, WalkError};
use super::{Body, Bucket, BucketError, GetRequest, ListPage, ListRequest, ObjectRef};
use crate::clock::{Clock as _, SystemClock};
use crate::failure::Class;

/// Bytes per piece of a body.
const CHUNK_BYTES: u64 = 128 * 1024;

/// Damage in a younger file may be a copy that is still going on.
const UNFINISHED: TimeDelta = TimeDelta::minutes(1);

/// Listings that may pause between two pages without reading their directories again.
const PARKED_WALKS: usize = 16;

/// A directory as a bucket. Clones share one view.
#[derive(Clone, Debug)]
pub struct DirBucket {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    root: PathBuf,
    name: Arc<str>,
    /// Walks between two pages, by the number in the token. A number is used once, so an old
    /// walk is never taken for a later listing.
    parked: Mutex<VecDeque<(u64, Walk)>>,
    walks: AtomicU64,
    odd_names: walk::OddNames,
}

impl DirBucket {
    /// The directory `path` as a bucket that calls itself `name` (its `file://` address). The
    /// directory is looked for at each request, not here.
    pub fn new(path: impl AsRef<Path>, name: Arc<str>) -> Self {
        let shared = Shared {
            root: path.as_ref().to_owned(),
            name,
            parked: Mutex::default(),
            walks: AtomicU64::new(0),
            odd_names: walk::OddNames::default(),
        };
        DirBucket { shared: Arc::new(shared) }
    }
}

#[async_trait]
impl Bucket for DirBucket {
    async fn list(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        let (shared, asked) = (self.shared.clone(), request.clone());
        match spawn_blocking(move || shared.page(&asked)).await {
            Ok(page) => page,
            Err(_) => Err(self.shared.list_error(Class::Transient, request, "the reading task was stopped")),
        }
    }

    async fn get(&self, request: &GetRequest) -> Result<Body, BucketError> {
        let (shared, asked) = (self.shared.clone(), request.clone());
        match spawn_blocking(move || shared.open(asked)).await {
            Ok(reader) => Ok(Box::pin(stream::try_unfold(reader?, read_on))),
            Err(_) => Err(self.shared.get_error(Class::Transient, request, "the reading task was stopped")),
        }
    }

    /// A file can be seen while it is being written; one that is older than a minute counts as
    /// whole. A time in the future counts as young.
    fn may_be_unfinished(&self, last_modified: DateTime<Utc>) -> bool {
        // files carry real times, also in a replay
        SystemClock.now().signed_duration_since(last_modified) < UNFINISHED
    }
}

impl Shared {
    fn list_error(&self, class: Class, request: &ListRequest, message: impl Into<String>) -> BucketError {
        BucketError::list(class, &self.name, request, message)
    }

    fn get_error(&self, class: Class, request: &GetRequest, message: impl Into<String>) -> BucketError {
        BucketError::get(class, &self.name, request, message)
    }

    /// Why the root is no directory that can be read; `None` when it is one.
    fn root_trouble(&self) -> Option<String> {
        let path = self.root.display();
        match std::fs::metadata(&self.root) {
            Ok(metadata) if metadata.is_dir() => None,
            Ok(_) => Some(format!("{path} is not a directory")),
            Err(error) => Some(format!("cannot open the directory {path}: {error}")),
        }
    }

    fn page(&self, request: &ListRequest) -> Result<ListPage, BucketError> {
        if let Some(trouble) = self.root_trouble() {
            return Err(self.list_error(Class::Unreachable, request, trouble));
        }
        let walked = |error: WalkError| {
            let class = match error.source.kind() {
                io::ErrorKind::PermissionDenied => Class::Unreachable,
                _ => Class::Transient,
            };
            let path = error.path.display();
            self.list_error(class, request, format!("cannot read {path}: {}", error.source))
        };
        let mut walk = self.walk(request, walked)?;
        let mut page = ListPage::default();
        let mut last = String::new();
        for _ in 0..request.keys_per_page() {
            match walk.next().map_err(walked)? {
                Some(Found::Object { key, metadata }) => {
                    last.clone_from(&key);
                    page.objects.push(self.object(key, &metadata));
                }
                Some(Found::Folder(folder)) => {
                    last.clone_from(&folder);
                    page.folders.push(folder);
                }
                None => break,
            }
        }
        let has_more = walk.has_more().map_err(walked)?;
        page.not_utf8 = walk.take_not_utf8();
        if has_more {
            page.next = Some(self.park(walk, &last));
        }
        // directories that vanish are skipped, but not when all of them did (an unmounted disk)
        match self.root_trouble() {
            Some(trouble) => Err(self.list_error(Class::Unreachable, request, trouble)),
            None => Ok(page),
        }
    }

    /// The walk that the request continues or begins.
    fn walk(
        &self,
        request: &ListRequest,
        walked: impl Fn(WalkError) -> BucketError,
    ) -> Result<Walk, BucketError> {
        let mut after = request.start_after.clone();
        if let Some(token) = &request.token {
            let parts = token.split_once(':').and_then(|(number, last)| Some((number.parse().ok()?, last)));
            let Some((number, last)) = parts else {
                return Err(self.list_error(
                    Class::Unreachable,
                    request,
                    "the token is none of this bucket's",
                ));
            };
            if let Some(walk) = self.unpark(number) {
                return Ok(walk);
            }
            after = Some(last.to_owned());
        }
        let scope = walk::Scope { prefix: &request.prefix, after, by_folder: request.by_folder };
        Walk::begin(&self.root, scope, self.odd_names.clone()).map_err(walked)
    }

    /// Keeps a walk for the next page and gives out its token, which also tells where to begin
    /// when the walk is no longer there.
    fn park(&self, walk: Walk, last: &str) -> String {
        let number = self.walks.fetch_add(1, Ordering::Relaxed);
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        if parked.len() >= PARKED_WALKS {
            parked.pop_front();
        }
        parked.push_back((number, walk));
        format!("{number}:{last}")
    }

    fn unpark(&self, number: u64) -> Option<Walk> {
        let mut parked = self.parked.lock().unwrap_or_else(PoisonError::into_inner);
        let at = parked.iter().position(|(other, _)| *other == number)?;
        parked.remove(at).map(|(_, walk)| walk)
    }

    fn object(&self, key: String, metadata: &Metadata) -> ObjectRef {
        ObjectRef {
            bucket: self.name.clone(),
            key,
            etag: etag(metadata),
            size: metadata.len(),
            last_modified: last_modified(metadata),
            archived: false,
        }
    }

    /// Opens an object and moves to its first wanted byte.
    fn open(self: Arc<Self>, request: GetRequest) -> Result<Reader, BucketError> {
        if let Some(trouble) = self.root_trouble() {
            return Err(self.get_error(Class::Unreachable, &request, trouble));
        }
        let failed = |error: io::Error| {
            let class = match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::NotADirectory | io::ErrorKind::InvalidFilename => {
                    Class::Gone
                }
                io::ErrorKind::PermissionDenied => Class::Object,
                _ => Class::Transient,
            };
            self.get_error(class, &request, error.to_string())
        };
        let path = walk::object_path(&self.root, &request.key).map_err(failed)?;
        let Some(path) = path else {
            return Err(self.get_error(Class::Gone, &request, "there is no such file"));
        };
        let mut file = File::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        let etag = etag(&metadata);
        if etag != request.if_match {
            let message = format!("the ETag is {etag}, {} was listed", request.if_match);
            return Err(self.get_error(Class::Replaced, &request, message));
        }
        let size = metadata.len();
        if request.from > 0 && request.from >= size {
            let message = format!("byte {} was asked for, the file has {size}", request.from);
            return Err(self.get_error(Class::Object, &request, message));
        }
        file.seek(SeekFrom::Start(request.from)).map_err(failed)?;
        let missing = size - request.from;
        Ok(Reader { file, missing, shared: self, request })
    }
}

/// A file that is being read.
struct Reader {
    file: File,
    /// Bytes up to the size that the file had when it was opened.
    missing: u64,
    shared: Arc<Shared>,
    request: GetRequest,
}

/// One step of a body: the next piece and the reader that goes on.
async fn read_on(reader: Reader) -> Result<Option<(Bytes, Reader)>, BucketError> {
    if reader.missing == 0 {
        return Ok(None);
    }
    let (shared, request) = (reader.shared.clone(), reader.request.clone());
    match spawn_blocking(move || reader.chunk()).await {
        Ok(step) => step.map(Some),
        Err(_) => Err(shared.get_error(Class::Transient, &request, "the reading task was stopped")),
    }
}

impl Reader {
    fn chunk(mut self) -> Result<(Bytes, Reader), BucketError> {
        let failed = |error: io::Error| {
            self.shared.get_error(Class::Transient, &self.request, format!("the file broke off: {error}"))
        };
        let wanted = self.missing.min(CHUNK_BYTES);
        let mut chunk = Vec::with_capacity(usize::try_from(wanted).unwrap_or_default());
        let read = (&self.file).take(wanted).read_to_end(&mut chunk).map_err(failed)? as u64;
        if read < wanted {
            let message = format!("the file became shorter: {} bytes are missing", self.missing - read);
            return Err(self.shared.get_error(Class::Transient, &self.request, message));
        }
        self.missing -= read;
        // an object of S3 cannot change under its reader, a file can
        if self.missing == 0 && etag(&self.file.metadata().map_err(failed)?) != self.request.if_match {
            let message = "the file changed while it was read";
            return Err(self.shared.get_error(Class::Replaced, &self.request, message));
        }
        Ok((chunk.into(), self))
    }
}

/// Size and time of the last change. The inode is left out on purpose: some network file
/// systems number their files anew at each mount, and a mirror may move to another disk.
fn etag(metadata: &Metadata) -> String {
    format!("{:x}-{:x}.{:x}", metadata.len(), metadata.mtime(), metadata.mtime_nsec())
}

/// The time of the last change; one that the calendar does not have becomes 1970.
fn last_modified(metadata: &Metadata) -> DateTime<Utc> {
    let nanoseconds = u32::try_from(metadata.mtime_nsec()).unwrap_or_default();
    DateTime::from_timestamp(metadata.mtime(), nanoseconds).unwrap_or(DateTime::UNIX_EPOCH)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::TryStreamExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::symlink;

    fn bucket_of(files: &[&str]) -> (tempfile::TempDir, DirBucket) {
        let dir = tempfile::tempdir().expect("a temporary directory can be made");
        for file in files {
            let path = dir.path().join(file);
            std::fs::create_dir_all(path.parent().expect("a joined path has a parent")).expect("made");
            std::fs::write(path, file).expect("written");
        }
        let bucket = DirBucket::new(dir.path(), "file:///mirror".into());
        (dir, bucket)
    }

    async fn keys(bucket: &DirBucket, request: &ListRequest) -> (Vec<String>, Vec<String>) {
        let mut request = ListRequest { page_size: request.page_size.max(1), ..request.clone() };
        let (mut keys, mut folders) = (Vec::new(), Vec::new());
        loop {
            let page = bucket.list(&request).await.expect("the directory lists");
            assert!(page.objects.len() + page.folders.len() <= usize::from(request.page_size));
            keys.extend(page.objects.into_iter().map(|object| object.key));
            folders.extend(page.folders);
            request.token = page.next;
            if request.token.is_none() {
                return (keys, folders);
            }
        }
    }

    #[tokio::test]
    async fn a_directory_sorts_as_its_name_with_a_slash() {
        let (_dir, bucket) = bucket_of(&["a/x", "a-b", "a.b", "a0", "a/b/c", "a!"]);
        let listed = keys(&bucket, &ListRequest { page_size: 2, ..ListRequest::default() }).await;
        assert_eq!(listed.0, ["a!", "a-b", "a.b", "a/b/c", "a/x", "a0"]);
    }

    #[tokio::test]
    async fn links_to_files_are_objects_and_links_to_directories_are_not() {
        let (dir, bucket) = bucket_of(&["real/file"]);
        symlink(dir.path().join("real/file"), dir.path().join("to-file")).expect("linked");
        symlink(dir.path().join("real"), dir.path().join("to-dir")).expect("linked");
        symlink(dir.path().join("nothing"), dir.path().join("dangling")).expect("linked");
        symlink(dir.path(), dir.path().join("real/loop")).expect("linked");
        let all = ListRequest { page_size: 100, ..ListRequest::default() };
        assert_eq!(keys(&bucket, &all).await.0, ["real/file", "to-file"]);
        let inside = ListRequest { prefix: "to-dir/".into(), ..all.clone() };
        assert!(keys(&bucket, &inside).await.0.is_empty());
        let page = bucket.list(&all).await.expect("lists");
        let through =
            GetRequest { key: "to-dir/file".into(), if_match: page.objects[0].etag.clone(), from: 0 };
        assert_eq!(bucket.get(&through).await.err().map(|error| error.class), Some(Class::Gone));
        let linked = GetRequest { key: "to-file".into(), ..through };
        let body: Vec<Bytes> = bucket.get(&linked).await.expect("opens").try_collect().await.expect("reads");
        assert_eq!(body.concat(), b"real/file");
    }

    #[tokio::test]
    async fn names_that_are_not_utf8_and_empty_directories_are_left_out() {
        let (dir, bucket) = bucket_of(&["b/c", "z"]);
        std::fs::write(dir.path().join(std::ffi::OsStr::from_bytes(b"a\xff")), "x").expect("written");
        std::fs::create_dir_all(dir.path().join("empty/deep")).expect("made");
        let request = ListRequest { by_folder: true, page_size: 1, ..ListRequest::default() };
        assert_eq!(keys(&bucket, &request).await, (vec!["z".into()], vec!["b/".into()]));
        for (name, prefix, start_after, not_utf8) in [
            ("all", "", None, 1),
            ("its beginning", "a", None, 1),
            ("another", "b", None, 0),
            ("after it", "", Some("b"), 0),
        ] {
            let start_after = start_after.map(str::to_owned);
            let request =
                ListRequest { prefix: prefix.into(), start_after, page_size: 9, ..ListRequest::default() };
            let page = bucket.list(&request).await.expect("the directory lists");
            assert_eq!(page.not_utf8, not_utf8, "{name}: counted once");
        }
    }

    /// Whatever time a sweep is for: files carry real times.
    #[tokio::test]
    async fn a_file_is_whole_a_minute_after_it_was_written() {
        let (_dir, bucket) = bucket_of(&["z"]);
        let now = SystemClock.now();
        for (name, written, unfinished) in [
            ("just now", now, true),
            ("in the last minute", now - TimeDelta::seconds(50), true),
            ("before that", now - TimeDelta::seconds(61), false),
            ("an hour ago", now - TimeDelta::hours(1), false),
            ("tomorrow", now + TimeDelta::days(1), true),
        ] {
            assert_eq!(bucket.may_be_unfinished(written), unfinished, "{name}");
        }
    }

    #[tokio::test]
    async fn a_missing_root_is_unreachable_and_named() {
        let (dir, _) = bucket_of(&["file"]);
        for (name, path) in [("missing", dir.path().join("no-such")), ("a file", dir.path().join("file"))] {
            let bucket = DirBucket::new(&path, "file:///mirror".into());
            let error = bucket.list(&ListRequest::default()).await.expect_err("no directory");
            assert_eq!(error.class, Class::Unreachable, "{name}");
            assert!(error.message.contains(&*path.to_string_lossy()), "{name}: {error}");
            let request = GetRequest { key: "k".into(), if_match: String::new(), from: 0 };
            let error = bucket.get(&request).await.err().map(|error| error.class);
            assert_eq!(error, Some(Class::Unreachable), "{name}");
        }
    }

    #[tokio::test]
    async fn keys_cannot_leave_the_directory() {
        let (dir, _) = bucket_of(&["inside/file", "outside"]);
        let bucket = DirBucket::new(dir.path().join("inside"), "file:///mirror".into());
        let absolute = dir.path().join("outside").to_string_lossy().into_owned();
        for key in ["../outside", "/file", "./file", "x/../file", "file/", "", "..", "a\0b", &absolute] {
            let request = GetRequest { key: key.into(), if_match: String::new(), from: 0 };
            let class = bucket.get(&request).await.err().map(|error| error.class);
            assert_eq!(class, Some(Class::Gone), "{key:?}");
            if !key.is_empty() {
                let request = ListRequest { prefix: format!("{key}/"), page_size: 9, ..Default::default() };
                assert!(keys(&bucket, &request).await.0.is_empty(), "{key:?}");
            }
        }
    }

    #[tokio::test]
    async fn a_file_that_changes_under_its_reader_is_no_whole_object() {
        let (dir, bucket) = bucket_of(&[]);
        let path = dir.path().join("k");
        for (name, then, class) in [("shorter", 100, Class::Transient), ("longer", 400_000, Class::Replaced)]
        {
            std::fs::write(&path, vec![1; 300_000]).expect("written");
            let request = ListRequest { page_size: 1, ..ListRequest::default() };
            let page = bucket.list(&request).await.expect("lists");
            let request = GetRequest { key: "k".into(), if_match: page.objects[0].etag.clone(), from: 0 };
            let mut body = bucket.get(&request).await.expect("opens");
            let first = body.try_next().await.expect("reads").expect("there are bytes");
            assert_eq!(first.len() as u64, CHUNK_BYTES, "{name}");
            std::fs::write(&path, vec![2; then]).expect("written");
            let rest: Result<Vec<Bytes>, _> = body.try_collect().await;
            assert_eq!(rest.expect_err("the file changed").class, class, "{name}");
        }
    }

    #[tokio::test]
    async fn a_listing_goes_on_when_its_walk_is_no_longer_parked() {
        let (_dir, bucket) = bucket_of(&["a", "b/c", "b/d", "e"]);
        let first = ListRequest { page_size: 2, ..ListRequest::default() };
        let token = bucket.list(&first).await.expect("lists").next.expect("there is more");
        for _ in 0..=PARKED_WALKS {
            bucket.list(&first).await.expect("lists");
        }
        // the second time the walk is taken already, as when a page is retried
        for _ in 0..2 {
            let next = ListRequest { token: Some(token.clone()), ..first.clone() };
            let page = bucket.list(&next).await.expect("lists");
            let keys: Vec<_> = page.objects.iter().map(|object| object.key.as_str()).collect();
            assert_eq!((keys, page.next), (vec!["b/d", "e"], None));
        }
    }
}
