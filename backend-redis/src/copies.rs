//! Where the copies of a generation are on a Cluster, so that no single master is the fate of all that carries it.
//!
//! Each generation is kept three times. Its key decides the group of its tag, and the group three slots, a third of all slots apart:
//! three equal masters hold one copy each. What two of the three say is so; see `core/docs/wire-format.md`.

use std::array::from_fn;
use std::borrow::Cow;

use stanchion::cache::{Shard, Tag};
use stanchion::key::Key;

use crate::command::slot_of_parts;

/// How many copies there are.
pub(crate) const COPIES: usize = 3;

/// How many of them decide.
pub(crate) const MAJORITY: usize = 2;

/// How many groups there are.
const GROUPS: u8 = 16;

/// The shard of the first group; those before are masters.
const FIRST_SHARD: u8 = 240;

/// A third of the slots, and the part of it that is one group's.
const THIRD: u16 = 5_461;
const STRIPE: u16 = 341;

/// The least number whose slot, as a hash tag, is that of the copy.
const HASH_TAGS: [[u32; COPIES]; GROUPS as usize] = [
    [42_600, 24_409, 525],
    [18, 11_214, 2_682],
    [4_397, 69_386, 3_918],
    [9_526, 1_845, 2_922],
    [2_459, 41_241, 5_716],
    [3_463, 69_296, 1_913],
    [42_420, 12_198, 345],
    [2_769, 41_351, 48_535],
    [48_565, 41_301, 1_803],
    [315, 14_980, 13_619],
    [2_679, 26_979, 3_433],
    [3_643, 41_211, 10_268],
    [2_972, 5_726, 165],
    [2_109, 26_869, 38_389],
    [18_060, 41_121, 10_378],
    [57_382, 908, 100_860],
];

/// Generations whose copies are in the same three slots.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Group(u8);

impl Group {
    /// That of a generation, by its key.
    pub(crate) fn of(key: &Key) -> Self {
        // The remainder is below 16.
        Self(slot_of_parts([key.as_str()]).to_le_bytes()[0] % GROUPS)
    }

    pub(crate) fn all() -> impl Iterator<Item = Self> {
        (0..GROUPS).map(Self)
    }

    pub(crate) fn index(self) -> usize {
        usize::from(self.0)
    }

    /// The shard that its generations are: up while two of three copies are.
    pub(crate) fn shard(self) -> Shard {
        Shard::new(FIRST_SHARD + self.0)
    }

    /// The slots of its copies.
    pub(crate) fn slots(self) -> [u16; COPIES] {
        let mut third = 0;
        from_fn(|_| {
            let slot = third + u16::from(self.0) * STRIPE + STRIPE / 2;
            third += THIRD;
            slot
        })
    }

    /// The key of a copy of the generation under this key, without the deployment's prefix.
    pub(crate) fn copy(self, key: &str, copy: usize) -> String {
        let tag = HASH_TAGS[self.index()][copy];
        match split(key) {
            Some((namespace, name)) => format!("{namespace}:{{{tag}}}:{name}"),
            None => key.to_owned(),
        }
    }
}

/// Whether generations are kept in this namespace.
pub(crate) fn is_of_generations(namespace: &str) -> bool {
    matches!(namespace.strip_prefix(Tag::SERVICE), Some(":tag" | ":namespace"))
}

/// Whether a generation is kept under this key.
pub(crate) fn is_generation(key: &Key) -> bool {
    split(key.as_str()).is_some_and(|(namespace, _)| is_of_generations(namespace))
}

/// The key of the generation of which this is the key of a copy, without the deployment's prefix; any other key is itself.
pub(crate) fn original(key: &str) -> Cow<'_, str> {
    let copy = split(key).filter(|(namespace, _)| is_of_generations(namespace));
    let name =
        copy.and_then(|(namespace, copy)| Some((namespace, copy.strip_prefix('{')?.split_once("}:")?.1)));
    match name {
        Some((namespace, name)) => Cow::Owned(format!("{namespace}:{name}")),
        None => Cow::Borrowed(key),
    }
}

/// The first two segments, and the rest.
fn split(key: &str) -> Option<(&str, &str)> {
    let (at, _) = key.match_indices(':').nth(1)?;
    Some((&key[..at], &key[at + 1..]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::slot;

    #[test]
    fn each_copy_is_in_its_slot_and_leads_back() {
        let mut slots = Vec::new();
        for group in Group::all() {
            for (copy, slot_of_copy) in group.slots().into_iter().enumerate() {
                let stored = group.copy("tags:tag:user%3Au1", copy);
                for prefix in ["", "staging:"] {
                    assert_eq!(slot(format!("{prefix}{stored}").as_bytes()), slot_of_copy, "{stored}");
                }
                assert_eq!(original(&stored), "tags:tag:user%3Au1");
                slots.push(slot_of_copy);
            }
        }
        slots.sort_unstable();
        assert!(slots.iter().all(|slot| *slot < 16_384) && slots.windows(2).all(|two| two[1] - two[0] > 300));
    }

    #[test]
    fn hash_tags_are_the_least_numbers() {
        for group in Group::all() {
            for (tag, wanted) in HASH_TAGS[group.index()].into_iter().zip(group.slots()) {
                let least = (0..=tag).find(|number| slot(number.to_string().as_bytes()) == wanted);
                assert_eq!(least, Some(tag));
            }
        }
    }

    #[test]
    fn three_equal_masters_hold_one_copy_each() {
        for group in Group::all() {
            let [a, b, c] = group.slots();
            assert!(a <= 5_460 && (5_461..=10_922).contains(&b) && c >= 10_923, "{group:?}");
        }
    }

    #[test]
    fn generations_are_told_by_their_keys() {
        let is = |key: &str| original(key).into_owned();
        for other in
            ["tags:tag:a", "tags:tag:a:{1}:b", "cache:user:{1}:a", "tags:other:{1}:a", "tags", "", "{1}:tags"]
        {
            assert_eq!(is(other), other);
        }
        assert_eq!(is("tags:namespace:{525}:cache%3Auser"), "tags:namespace:cache%3Auser");
        let tag = Tag::new("user:u1").unwrap();
        assert!(is_generation(tag.key()) && !is_generation(&Key::new("cache", "tag", "a").unwrap()));
        assert!((240..=255).contains(&Group::of(tag.key()).shard().number()));
        for namespace in Tag::namespaces().unwrap() {
            assert!(is_of_generations(&namespace.to_string()));
        }
        assert!(!is_of_generations("tags:tags") && !is_of_generations("tag"));
    }

    #[test]
    fn the_group_of_a_tag_is_as_it_was() {
        // Written down in the wire format.
        let group = |tag: Tag| Group::of(tag.key());
        assert_eq!(group(Tag::new("user:u1").unwrap()), Group((slot(b"tags:tag:user%3Au1") % 16) as u8));
    }
}
