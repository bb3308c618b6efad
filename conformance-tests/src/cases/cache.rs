//! Cached values.

use std::time::Duration;

use bytes::Bytes;
use futures_util::future::try_join_all;
use stanchion::ErrorKind;
use stanchion::cache::{CacheStore, SetEntry, SetOptions, SetOutcome, When};
use stanchion::key::Key;
use stanchion::time::Ttl;

use super::rules;
use crate::check::{dropped_after, ensure, fail, refused, same};
use crate::{Context, Outcome};

fn key(id: &str) -> Outcome<Key> {
    Ok(Key::new("cache", "case", id)?)
}

fn bytes(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

fn always() -> SetOptions {
    SetOptions::new(Ttl::MAX)
}

/// An entry of a batch, set whatever is there.
fn entry(key: Key, value: Bytes) -> SetEntry {
    SetEntry::new(key, value, always())
}

async fn put_many(store: &dyn CacheStore, entries: &[SetEntry]) -> Outcome {
    let stored = store.set_many(entries).await?;
    same(stored, vec![SetOutcome::Stored; entries.len()], "unconditional sets")
}

async fn put(store: &dyn CacheStore, id: &str, value: &'static str) -> Outcome {
    same(store.set(&key(id)?, bytes(value), &always()).await?, SetOutcome::Stored, "an unconditional set")
}

async fn set_if(store: &dyn CacheStore, id: &str, value: &'static str, when: When) -> Outcome<SetOutcome> {
    Ok(store.set(&key(id)?, bytes(value), &always().when(when)).await?)
}

async fn holds(store: &dyn CacheStore, id: &str, value: Option<&'static str>) -> Outcome {
    same(store.get(&key(id)?).await?, value.map(bytes), id)
}

async fn a_value_is_read_back_by_every_handle(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    holds(&*here, "a", None).await?;
    for (writer, value) in [(&here, "one"), (&there, "two"), (&here, "three")] {
        put(&**writer, "a", value).await?;
        // Each has read the value before: what it remembers of that must not be told.
        holds(&*here, "a", Some(value)).await?;
        holds(&*there, "a", Some(value)).await?;
    }
    Ok(())
}

async fn any_bytes_are_a_value(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let every_byte: Bytes = (0..=255_u8).cycle().take(4_096).collect::<Vec<_>>().into();
    for (id, value) in [("empty", Bytes::new()), ("all", every_byte), ("crlf", bytes("\r\n$-1\r\n"))] {
        let stored = store.set(&key(id)?, value.clone(), &always()).await?;
        same(stored, SetOutcome::Stored, "a set")?;
        same(store.get(&key(id)?).await?, Some(value), id)?;
    }
    Ok(())
}

async fn a_value_may_be_as_large_as_declared_and_no_larger(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let most = store.capabilities().max_value_bytes;
    let largest = Bytes::from(vec![7; most]);
    let stored = store.set(&key("a")?, largest.clone(), &always()).await?;
    same(stored, SetOutcome::Stored, "a value of the largest size")?;
    let larger = Bytes::from(vec![7; most + 1]);
    refused(
        store.set(&key("a")?, larger.clone(), &always()).await,
        ErrorKind::InvalidInput,
        "a value over the cap",
    )?;
    let entries = [entry(key("b")?, bytes("fine")), entry(key("a")?, larger)];
    refused(store.set_many(&entries).await, ErrorKind::InvalidInput, "a batch with a value over the cap")?;
    holds(&*store, "b", None).await?;
    ensure(store.get(&key("a")?).await? == Some(largest), "the first value is still there", "another")
}

async fn a_batch_over_the_bound_changes_nothing(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    put(&*store, "k0", "kept").await?;
    let most = store.capabilities().max_batch;
    let keys = (0..=most).map(|n| key(&format!("k{n}"))).collect::<Outcome<Vec<_>>>()?;
    let entries: Vec<_> = keys.iter().map(|key| entry(key.clone(), bytes("new"))).collect();
    refused(store.get_many(&keys).await, ErrorKind::InvalidInput, "too many to get")?;
    refused(store.set_many(&entries).await, ErrorKind::InvalidInput, "too many to set")?;
    refused(store.remove_many(&keys).await, ErrorKind::InvalidInput, "too many to remove")?;
    holds(&*store, "k0", Some("kept")).await
}

async fn batches_answer_in_the_order_of_the_keys(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let entries = (0..100)
        .map(|n| Ok(entry(key(&format!("k{n}"))?, Bytes::from(n.to_string()))))
        .collect::<Outcome<Vec<_>>>()?;
    put_many(&*store, &entries).await?;
    let asked = ["k7", "none", "k99", "k7", "k0"].map(key).into_iter().collect::<Outcome<Vec<_>>>()?;
    let expected = [Some("7"), None, Some("99"), Some("7"), Some("0")].map(|value| value.map(bytes));
    same(store.get_many(&asked).await?, expected.to_vec(), "values in the order asked")?;
    let all: Vec<_> = entries.iter().map(|entry| entry.key.clone()).collect();
    let found = store.get_many(&all).await?;
    same(
        found.into_iter().flatten().collect::<Vec<_>>(),
        entries.into_iter().map(|entry| entry.value).collect(),
        "all",
    )
}

async fn an_empty_batch_is_no_error(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(store.get_many(&[]).await?, Vec::<Option<Bytes>>::new(), "nothing asked")?;
    put_many(&*store, &[]).await?;
    same(store.remove_many(&[]).await?, 0, "nothing removed")
}

async fn the_last_of_a_key_given_twice_holds(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    put_many(&*store, &[entry(key("a")?, bytes("first")), entry(key("a")?, bytes("last"))]).await?;
    holds(&*store, "a", Some("last")).await
}

async fn removing_counts_what_was_there(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    for id in ["a", "b", "c"] {
        put(&*here, id, "x").await?;
    }
    let keys = ["a", "none", "b", "a"].map(key).into_iter().collect::<Outcome<Vec<_>>>()?;
    same(there.remove_many(&keys).await?, 2, "distinct keys that held something")?;
    holds(&*here, "a", None).await?;
    holds(&*here, "b", None).await?;
    holds(&*here, "c", Some("x")).await
}

async fn set_if_absent(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(set_if(&*store, "a", "one", When::Absent).await?, SetOutcome::Stored, "absent")?;
    same(set_if(&*store, "a", "two", When::Absent).await?, SetOutcome::NotStored, "no longer absent")?;
    holds(&*store, "a", Some("one")).await
}

async fn set_if_present(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(set_if(&*store, "a", "one", When::Present).await?, SetOutcome::NotStored, "not present")?;
    holds(&*store, "a", None).await?;
    put(&*store, "a", "one").await?;
    same(set_if(&*store, "a", "two", When::Present).await?, SetOutcome::Stored, "present")?;
    holds(&*store, "a", Some("two")).await
}

async fn compare_and_set(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let equals = |text| When::Equals(bytes(text));
    same(
        set_if(&*store, "a", "two", equals("")).await?,
        SetOutcome::NotStored,
        "nothing is not the empty value",
    )?;
    put(&*store, "a", "one").await?;
    same(set_if(&*store, "a", "two", equals("on")).await?, SetOutcome::NotStored, "another value")?;
    same(set_if(&*store, "a", "two", equals("one")).await?, SetOutcome::Stored, "the same value")?;
    holds(&*store, "a", Some("two")).await
}

async fn of_a_race_to_set_one_wins(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    put(&*here, "equals", "old").await?;
    for (id, when) in [("absent", When::Absent), ("equals", When::Equals(bytes("old")))] {
        let (key, options) = (key(id)?, always().when(when));
        let racing = (0..30).map(|n| {
            let store = if n % 2 == 0 { &here } else { &there };
            store.set(&key, Bytes::from(format!("{n}")), &options)
        });
        let stored = try_join_all(racing).await?.into_iter().filter(|outcome| *outcome == SetOutcome::Stored);
        same(stored.count(), 1, &format!("sets of 30 at once on the condition {id}"))?;
    }
    Ok(())
}

async fn a_value_is_gone_at_its_deadline(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let short = cx.short();
    let stored = here.set(&key("a")?, bytes("x"), &SetOptions::new(short)).await?;
    same(stored, SetOutcome::Stored, "a set")?;
    let stored = here.set_many(&[SetEntry::new(key("b")?, bytes("x"), SetOptions::new(short))]).await?;
    same(stored, vec![SetOutcome::Stored], "a set in a batch")?;
    let _one = here.add(&key("c")?, 1, short).await?;
    cx.pass(short).await;
    let keys = ["a", "b", "c"].map(key).into_iter().collect::<Outcome<Vec<_>>>()?;
    same(there.get_many(&keys).await?, vec![None, None, None], "values after their deadline")?;
    same(there.ttl(&keys[0]).await?, None, "the TTL after the deadline")?;
    same(there.touch(&keys[0], Ttl::MAX).await?, false, "touching after the deadline")?;
    same(there.remove_many(&keys).await?, 0, "removing after the deadline")?;
    same(
        set_if(&*there, "b", "y", When::Present).await?,
        SetOutcome::NotStored,
        "present after the deadline",
    )?;
    same(
        set_if(&*there, "b", "y", When::Equals(bytes("x"))).await?,
        SetOutcome::NotStored,
        "equal after the deadline",
    )?;
    same(there.add(&keys[2], 5, Ttl::MAX).await?, 5, "a counter after its deadline")
}

async fn a_value_is_there_until_its_deadline(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    cx.while_it_lasts(|life, attempt| {
        let store = &store;
        async move {
            let key = key(&format!("a{attempt}"))?;
            let _stored = store.set(&key, bytes("x"), &SetOptions::new(life)).await?;
            cx.advance(cx.most_of(life)).await;
            same(store.get(&key).await?, Some(bytes("x")), "a value before its deadline")
        }
    })
    .await
}

async fn the_ttl_is_told(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(store.ttl(&key("a")?).await?, None, "the TTL of nothing")?;
    let (life, passed) = (Duration::from_hours(2), cx.short().as_duration() / 2);
    let _stored = store.set(&key("a")?, bytes("x"), &SetOptions::new(Ttl::new(life)?)).await?;
    cx.advance(passed).await;
    match store.ttl(&key("a")?).await?.map(Ttl::as_duration) {
        Some(left) => ensure(left + passed <= life && left > life / 2, "what is left of the life", left),
        None => fail("what is left of the life", "nothing"),
    }
}

async fn the_shortest_and_longest_lives_are_kept(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let _stored = store.set(&key("long")?, bytes("x"), &SetOptions::new(Ttl::new(Duration::MAX)?)).await?;
    let day = 24 * 60 * 60 * 1_000;
    let left = store.ttl(&key("long")?).await?.map_or(0, Ttl::as_millis);
    ensure(left > Ttl::MAX.as_millis() - day && left <= Ttl::MAX.as_millis(), "ten years", left)?;
    holds(&*store, "long", Some("x")).await?;
    let shortest = Ttl::new(Duration::from_nanos(1))?;
    let _stored = store.set(&key("short")?, bytes("x"), &SetOptions::new(shortest)).await?;
    cx.pass(shortest).await;
    holds(&*store, "short", None).await
}

async fn a_set_gives_a_new_life(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    for (id, when) in [("a", When::Always), ("b", When::Present), ("c", When::Equals(bytes("x")))] {
        let _short = store.set(&key(id)?, bytes("x"), &SetOptions::new(cx.short())).await?;
        let _long = store.set(&key(id)?, bytes("y"), &always().when(when)).await?;
    }
    let _long = store.set(&key("d")?, bytes("x"), &always()).await?;
    let _short = store.set(&key("d")?, bytes("y"), &SetOptions::new(cx.short())).await?;
    cx.pass(cx.short()).await;
    for (id, value) in [("a", Some("y")), ("b", Some("y")), ("c", Some("y")), ("d", None)] {
        holds(&*store, id, value).await?;
    }
    Ok(())
}

async fn a_set_that_was_not_stored_changes_no_life(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let _short = store.set(&key("a")?, bytes("x"), &SetOptions::new(cx.short())).await?;
    same(set_if(&*store, "a", "y", When::Absent).await?, SetOutcome::NotStored, "not absent")?;
    same(set_if(&*store, "a", "y", When::Equals(bytes("z"))).await?, SetOutcome::NotStored, "not equal")?;
    cx.pass(cx.short()).await;
    holds(&*store, "a", None).await
}

async fn a_touch_gives_a_new_life_and_creates_nothing(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(store.touch(&key("none")?, Ttl::MAX).await?, false, "touching nothing")?;
    holds(&*store, "none", None).await?;
    let _short = store.set(&key("a")?, bytes("x"), &SetOptions::new(cx.short())).await?;
    put(&*store, "b", "x").await?;
    same(store.touch(&key("a")?, Ttl::MAX).await?, true, "touching a value")?;
    same(store.touch(&key("b")?, cx.short()).await?, true, "touching a value")?;
    cx.pass(cx.short()).await;
    holds(&*store, "a", Some("x")).await?;
    holds(&*store, "b", None).await
}

async fn a_counter_starts_at_zero_and_is_text(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    same(here.add(&key("a")?, 5, Ttl::MAX).await?, 5, "the first addition")?;
    same(there.add(&key("a")?, -7, Ttl::MAX).await?, -2, "a subtraction")?;
    same(here.add(&key("a")?, 0, Ttl::MAX).await?, -2, "adding nothing")?;
    holds(&*here, "a", Some("-2")).await?;
    put(&*here, "b", "41").await?;
    same(here.add(&key("b")?, 1, Ttl::MAX).await?, 42, "adding to a number that was set")
}

async fn no_addition_is_lost(cx: &Context) -> Outcome {
    let (here, there) = (cx.open().await?.cache_store()?, cx.open().await?.cache_store()?);
    let key = key("a")?;
    let mut sums =
        try_join_all((0..60).map(|n| if n % 2 == 0 { &here } else { &there }.add(&key, 1, Ttl::MAX))).await?;
    sums.sort_unstable();
    same(sums, (1..=60).collect(), "the sums of 60 additions at once")
}

async fn a_counter_lives_from_its_first_addition(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let _first = store.add(&key("a")?, 1, cx.short()).await?;
    let _second = store.add(&key("a")?, 1, Ttl::MAX).await?;
    cx.pass(cx.short()).await;
    holds(&*store, "a", None).await
}

async fn a_counter_keeps_its_range(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    same(store.add(&key("a")?, i64::MAX, Ttl::MAX).await?, i64::MAX, "the greatest number")?;
    refused(store.add(&key("a")?, 1, Ttl::MAX).await, ErrorKind::InvalidInput, "one more")?;
    same(store.add(&key("a")?, -1, Ttl::MAX).await?, i64::MAX - 1, "the counter is as it was")?;
    same(store.add(&key("b")?, i64::MIN, Ttl::MAX).await?, i64::MIN, "the least number")?;
    refused(store.add(&key("b")?, -1, Ttl::MAX).await, ErrorKind::InvalidInput, "one less")?;
    same(store.get(&key("b")?).await?, Some(Bytes::from(i64::MIN.to_string())), "the counter is as it was")
}

async fn what_is_no_number_is_left_alone(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    for (id, value) in
        [("word", "seven"), ("empty", ""), ("space", " 7"), ("plus", "+7"), ("zero", "07"), ("real", "7.0")]
    {
        put(&*store, id, value).await?;
        refused(store.add(&key(id)?, 1, Ttl::MAX).await, ErrorKind::Codec, id)?;
        holds(&*store, id, Some(value)).await?;
    }
    Ok(())
}

async fn keys_stay_apart_whatever_they_hold(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let ids = [
        "a",
        "A",
        "a:",
        ":a",
        "a:b",
        "{a}",
        "{a",
        "a}",
        "a*",
        "a?",
        "[a]",
        "a\\",
        "a%",
        "a%3A",
        "a\n",
        "a\r\nb",
        "a\0",
        " a",
        "a ",
        "\t",
        "é",
        "e\u{301}",
        "\u{feff}a",
        "日本語",
    ];
    let keys = ids.map(key).into_iter().collect::<Outcome<Vec<_>>>()?;
    let entries: Vec<_> = keys.iter().zip(ids).map(|(key, id)| entry(key.clone(), bytes(id))).collect();
    put_many(&*store, &entries).await?;
    let expected: Vec<_> = ids.iter().map(|id| Some(bytes(id))).collect();
    same(store.get_many(&keys).await?, expected, "each its own value")?;
    same(store.remove_many(&keys[..1]).await?, 1, "removing one")?;
    let left = store.get_many(&keys).await?.iter().flatten().count();
    same(left, ids.len() - 1, "the others are left")
}

async fn places_stay_apart(cx: &Context) -> Outcome {
    let (here, elsewhere) = (cx.open().await?.cache_store()?, cx.elsewhere().await?.cache_store()?);
    put(&*here, "a", "here").await?;
    holds(&*elsewhere, "a", None).await?;
    same(elsewhere.remove_many(&[key("a")?]).await?, 0, "removing elsewhere")?;
    holds(&*here, "a", Some("here")).await
}

/// Calls that are dropped after so many polls; answers the keys that they may have written.
async fn dropped(store: &dyn CacheStore, polls: u32, life: Ttl) -> Outcome<Vec<Key>> {
    let keys = ["set", "add", "one", "two"].map(|what| key(&format!("{what}{polls}")));
    let keys = keys.into_iter().collect::<Outcome<Vec<_>>>()?;
    dropped_after(polls, store.set(&keys[0], bytes("7"), &SetOptions::new(life))).await;
    dropped_after(polls, store.add(&keys[1], 7, life)).await;
    let batch = [&keys[2], &keys[3]].map(|key| SetEntry::new(key.clone(), bytes("7"), SetOptions::new(life)));
    dropped_after(polls, store.set_many(&batch)).await;
    dropped_after(polls, store.get(&key("other")?)).await;
    dropped_after(polls, store.get_many(&[key("other")?])).await;
    Ok(keys)
}

async fn a_dropped_call_is_done_or_not_done(cx: &Context) -> Outcome {
    let store = cx.open().await?.cache_store()?;
    let minute = Ttl::new(Duration::from_mins(1))?;
    put(&*store, "other", "another").await?;
    let keys = try_join_all((0..12).map(|polls| dropped(&*store, polls, minute))).await?;
    for key in keys.iter().flatten() {
        // What was sent and then dropped may come late; once it is there, it stays for a minute.
        if let Some(value) = store.get(key).await? {
            same(value, bytes("7"), "the whole value")?;
            let left = store.ttl(key).await?;
            ensure(left.is_some_and(|left| left <= minute), "the life that was asked for", (key, left))?;
        }
    }
    for n in 0..20 {
        let (key, value) = (key(&format!("after{n}"))?, Bytes::from(format!("value {n}")));
        let _stored = store.set(&key, value.clone(), &always()).await?;
        same(store.get(&key).await?, Some(value), "its own value, after calls that were dropped")?;
    }
    Ok(())
}

rules! {
    "CACHE-01" Must "A value that was set is read back through every handle, until it is set again." => [
        "value::is_read_back_by_every_handle": a_value_is_read_back_by_every_handle,
    ];
    "CACHE-02" Must "Any bytes are a value, the empty ones too." => ["value::any_bytes": any_bytes_are_a_value];
    "CACHE-03" Must "A value may be as large as declared; a larger one, alone or in a batch, is refused before anything changes." => [
        "value::size_cap": a_value_may_be_as_large_as_declared_and_no_larger,
    ];
    "CACHE-04" Must "A batch over the declared bound is refused before anything changes." => [
        "batch::bound": a_batch_over_the_bound_changes_nothing,
    ];
    "CACHE-05" Must "Values are answered in the order of the keys, also for a key that is asked for twice." => [
        "batch::order": batches_answer_in_the_order_of_the_keys,
    ];
    "CACHE-06" Must "An empty batch is no error." => ["batch::empty": an_empty_batch_is_no_error];
    "CACHE-07" Must "Of a key given twice in a batch the last value holds." => ["batch::last_holds": the_last_of_a_key_given_twice_holds];
    "CACHE-08" Must "Removing counts the distinct keys that held something, and removes no others." => [
        "remove::counts_what_was_there": removing_counts_what_was_there,
    ];
    "CACHE-09" Must "Absent: set only if the key holds nothing." => ["when::absent": set_if_absent];
    "CACHE-10" Must "Present: set only if the key holds something." => ["when::present": set_if_present];
    "CACHE-11" Must "Equals: set only if the key holds exactly these bytes." => ["when::equals": compare_and_set];
    "CACHE-12" Must "Of any number of conditional sets at once, one is stored." => ["when::race_has_one_winner": of_a_race_to_set_one_wins];
    "CACHE-13" Must "An entry is gone at its deadline, for every operation." => ["ttl::gone_at_deadline": a_value_is_gone_at_its_deadline];
    "CACHE-14" Must "An entry is there until its deadline." => ["ttl::there_until_deadline": a_value_is_there_until_its_deadline];
    "CACHE-15" Must "What is left of a life is told, and nothing for what is not there." => ["ttl::is_told": the_ttl_is_told];
    "CACHE-16" Must "The shortest and the longest life are kept." => ["ttl::extremes": the_shortest_and_longest_lives_are_kept];
    "CACHE-17" Must "A set that is stored gives a new life; one that is not changes none." => [
        "ttl::set_gives_a_new_life": a_set_gives_a_new_life,
        "ttl::not_stored_changes_none": a_set_that_was_not_stored_changes_no_life,
    ];
    "CACHE-18" Must "A touch gives a new life, and creates nothing." => ["ttl::touch": a_touch_gives_a_new_life_and_creates_nothing];
    "CACHE-19" Must "A counter starts at zero, and is stored as its decimal text." => ["counter::is_text": a_counter_starts_at_zero_and_is_text];
    "CACHE-20" Must "No addition is lost, whatever runs beside it." => ["counter::race_loses_nothing": no_addition_is_lost];
    "CACHE-21" Must "A counter lives from its first addition." => ["counter::window": a_counter_lives_from_its_first_addition];
    "CACHE-22" Must "A sum outside i64 is refused, and leaves the counter as it was." => ["counter::range": a_counter_keeps_its_range];
    "CACHE-23" Must "What is no decimal number is refused by add, and left as it was." => ["counter::no_number": what_is_no_number_is_left_alone];
    "CACHE-24" Must "Different identifiers never share an entry, whatever they hold." => ["isolation::keys": keys_stay_apart_whatever_they_hold];
    "CACHE-25" Must "Places stay apart." => ["isolation::places": places_stay_apart];
    "CACHE-26" Must "A dropped call is either not done or wholly done, and disturbs no other." => [
        "cancel::done_or_not_done": a_dropped_call_is_done_or_not_done,
    ];
}
