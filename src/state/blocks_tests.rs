use proptest::prelude::*;

use super::*;

/// Stored pairs in memory.
#[derive(Clone, Default)]
struct InMemory(BTreeMap<Vec<u8>, Vec<u8>>);

impl Stored for InMemory {
    fn range(&self, from: &[u8], to: &[u8]) -> Pairs<'_> {
        let range = self.0.range(from.to_vec()..to.to_vec());
        Box::new(range.map(|(key, value)| Ok((key.clone(), value.clone()))))
    }
}

impl InMemory {
    fn apply(&mut self, operations: Vec<Operation>) {
        for (key, value) in operations {
            match value {
                Some(value) => self.0.insert(key, value),
                None => self.0.remove(&key),
            };
        }
    }
}

fn entry_key(number: u16) -> Vec<u8> {
    format!("e00000000AWSLogs/{}/2026/06/01/{number:05}", number % 3).into_bytes()
}

fn everything(blocks: &Blocks, stored: &InMemory) -> BTreeMap<Vec<u8>, Vec<u8>> {
    blocks.scan(stored, b"e", b"f", usize::MAX).expect("whole").into_iter().collect()
}

fn batch() -> impl Strategy<Value = Vec<(u16, Option<u8>)>> {
    prop::collection::vec((0_u16..400, prop::option::weighted(0.7, any::<u8>())), 1..150)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// The blocks hold what a map holds after the same batches; folding changes nothing, and a
    /// crash after any step of it neither.
    #[test]
    fn it_is_a_map(batches in prop::collection::vec((batch(), any::<bool>()), 1..12), crash in any::<prop::sample::Index>()) {
        let (mut blocks, mut stored) = (Blocks::default(), InMemory::default());
        let mut map = BTreeMap::new();
        for (batch, folds) in batches {
            let changes: Changes = batch
                .into_iter()
                .map(|(number, value)| (entry_key(number), value.map(|byte| vec![byte; usize::from(byte)])))
                .collect();
            for (key, value) in &changes {
                match value {
                    Some(value) => map.insert(key.clone(), value.clone()),
                    None => map.remove(key),
                };
            }
            let chunks = blocks.journal(&changes);
            let number = chunks.len();
            stored.apply(chunks);
            blocks.note(changes, number);
            if folds {
                let steps = blocks.fold(&stored).expect("whole");
                let cut = crash.index(steps.len() + 1);
                let mut cut_off = stored.clone();
                steps.iter().take(cut).cloned().for_each(|step| cut_off.apply(step));
                let reopened = Blocks::open(&cut_off).expect("whole");
                prop_assert_eq!(&everything(&reopened, &cut_off), &map, "cut off after {} steps", cut);
                steps.into_iter().for_each(|step| stored.apply(step));
                blocks.folded();
                prop_assert!(blocks.waiting.is_empty());
                prop_assert!(stored.0.keys().all(|key| key[0] == format::BLOCK));
            }
            prop_assert_eq!(&everything(&blocks, &stored), &map);
            let reopened = Blocks::open(&stored).expect("whole");
            prop_assert_eq!(&everything(&reopened, &stored), &map);
        }
        for number in 0..400 {
            let key = entry_key(number);
            prop_assert_eq!(blocks.get(&stored, &key).expect("whole"), map.get(&key).cloned());
        }
        for (from, to, limit) in [(3, 200, 7), (0, 399, 50), (150, 151, 9), (9, 3, 9)] {
            let (from, to) = (entry_key(from), entry_key(to));
            let page = blocks.scan(&stored, &from, &to, limit).expect("whole");
            let in_range = map.iter().filter(|(key, _)| (&from..&to).contains(key)).take(limit);
            let want: Vec<_> = in_range.map(|(key, value)| (key.clone(), value.clone())).collect();
            prop_assert_eq!(page, want);
        }
        for (key, value) in &stored.0 {
            prop_assert!(value.len() <= BLOCK_BYTES.max(CHUNK_BYTES), "{:?}", key);
        }
    }
}

/// Keys that come in any order leave no crowd of small blocks.
#[test]
fn blocks_are_filled() {
    for (case, order) in [("rising", 1_u16), ("falling", 399), ("mixed", 77)] {
        let (mut blocks, mut stored) = (Blocks::default(), InMemory::default());
        for round in 0..400_u16 {
            let number = u16::try_from(u32::from(round) * u32::from(order) % 400).expect("small");
            blocks.note([(entry_key(number), Some(vec![7; 60]))].into(), 1);
            let steps = blocks.fold(&stored).expect("whole");
            steps.into_iter().for_each(|step| stored.apply(step));
            blocks.folded();
        }
        let bytes: usize = stored.0.values().map(Vec::len).sum();
        assert!(stored.0.len() <= 4 * bytes.div_ceil(BLOCK_BYTES), "{case}: {} blocks", stored.0.len());
        assert_eq!(everything(&blocks, &stored).len(), 400, "{case}");
    }
}
