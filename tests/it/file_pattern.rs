//! A changed file pattern: what is settled stays settled, and what was left out comes when it fits.

use s3sweep::sweep::report::SourceReport;

use crate::world::{World, at};

const SETTINGS: &str =
    "prefix = \"logs/{YYYY}/{mm}/{dd}\"\nstart = \"2026-06-01\"\nlateness = \"1H\"\ndiscover_every = \"90D\"";

async fn sweep_with(world: &mut World, file_pattern: &str, hour: u32) -> SourceReport {
    world.configure(&format!("{SETTINGS}\nfile_pattern = '{file_pattern}'"));
    let now = at(&format!("2026-06-01T{hour:02}:00:00Z"));
    world.bucket.set_clock(Some(now));
    world.clock.set(now);
    let swept = world.sweep().await;
    swept.ended.unwrap();
    swept.report
}

/// The settled ones of another kind lie behind the late one of the kind that is wanted now, and far
/// enough in the past for a floor.
#[tokio::test(start_paused = true)]
async fn narrower_and_wider_again() {
    let mut world = World::new("2026-06-01T02:00:00Z", SETTINGS);
    let put = |world: &World, name: &str, hour: u32| {
        world.put(&format!("logs/2026/06/01/{name}"), at(&format!("2026-06-01T{hour:02}:00:00Z")));
    };
    put(&world, "b.gz", 1);
    put(&world, "d.txt", 1);
    assert_eq!(sweep_with(&mut world, ".*", 2).await.objects.collected, 2);

    put(&world, "a.gz", 5);
    put(&world, "c.txt", 5);
    let narrow = sweep_with(&mut world, ".*[.]gz", 6).await.objects;
    let skipped = |word: &str| narrow.skipped.get(word).copied().unwrap_or(0);
    assert_eq!((narrow.collected, skipped("settled"), skipped("pattern")), (1, 2, 1));

    let wide = sweep_with(&mut world, ".*", 7).await.objects;
    assert_eq!((wide.collected, wide.skipped.get("settled").copied()), (1, Some(3)));
    let delivered = world.sink.event_ids();
    assert_eq!(delivered.len(), 4);
    assert!(delivered.values().all(|times| *times == 1), "each once: {delivered:?}");
}
