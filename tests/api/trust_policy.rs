//! What a configuration may say about trust: policies, level names and `evaluate_trust`, through the C functions.

use crate::support::{Client, JULIET, NS_2, ROMEO, Setup, Trust, World, abi};
use omemo::error::Status;
use std::collections::BTreeMap;

/// Number of `omemo_option`, and the policies.
const TRUST_POLICY: i32 = 9;
const ASK: u64 = 0;
const TOFU: u64 = 1;
const BTBV: u64 = 2;

const ARGUMENT: i32 = Status::Argument as i32;

/// Whether a manager opens, or the status and the sentence of its failure.
fn opens(world: &World, policy: u64, setup: Setup) -> Result<(), (i32, String)> {
    let setup = Setup { options: vec![(TRUST_POLICY, policy)], ..setup };
    Client::try_with(world, ROMEO, setup).map(|_| ())
}

#[test]
fn a_policy_does_not_go_with_evaluate_trust() {
    let world = World::new(1);
    let setup = || Setup {
        levels: BTreeMap::from([("undecided".to_owned(), 0), ("mine".to_owned(), 1)]),
        ..Setup::default()
    };
    assert_eq!(opens(&world, ASK, setup()), Ok(()));
    for policy in [TOFU, BTBV] {
        let (status, why) = opens(&world, policy, setup()).unwrap_err();
        assert_eq!(status, ARGUMENT);
        assert!(why.contains("OMEMO_OPTION_TRUST_POLICY") && why.contains("evaluate_trust"), "{why}");
    }
}

#[test]
fn a_policy_needs_an_undecided_default_level() {
    let world = World::new(1);
    let setup = |level: &str| Setup { default_trust_level_name: Some(level.to_owned()), ..Setup::default() };
    let unknown = Status::UnknownTrustLevel as i32;
    for (level, ask, others) in [
        ("undecided", None, None),
        ("trusted", None, Some(ARGUMENT)),
        ("distrusted", None, Some(ARGUMENT)),
        // Undecided under the first, trusted under the others.
        ("blindly-trusted", None, Some(ARGUMENT)),
        ("verified", Some(unknown), Some(unknown)),
    ] {
        for (policy, expected) in [(ASK, ask), (TOFU, others), (BTBV, others)] {
            let failure = opens(&world, policy, setup(level)).err();
            assert_eq!(failure.as_ref().map(|(status, _)| *status), expected, "{level} {policy}");
            if expected == Some(ARGUMENT) {
                assert!(failure.unwrap().1.contains("default trust level"));
            }
        }
    }
    assert_eq!(opens(&world, 3, Setup::default()).unwrap_err().0, ARGUMENT);
}

#[test]
fn blind_trust_is_a_level_that_a_client_may_set() {
    for (policy, core_trust) in [(ASK, 0), (TOFU, 1), (BTBV, 1)] {
        let world = World::new(1);
        let juliet = Client::online(&world, JULIET);
        let setup =
            Setup { options: vec![(TRUST_POLICY, policy)], trust: Trust::LeaveOpen, ..Setup::default() };
        let romeo = Client::with(&world, ROMEO, setup);
        romeo.connect().ok();
        romeo.refresh(JULIET).ok();
        assert_eq!(romeo.set_trust(JULIET, &juliet.identity(), "blindly-trusted"), abi::OK);
        let known = &romeo.devices(JULIET)[0];
        assert_eq!((known.level.as_str(), known.trust), ("blindly-trusted", core_trust));
        let status = romeo.encrypt(&[JULIET], "hello").status;
        assert_eq!(status == abi::OK, core_trust == 1);
        assert_eq!(romeo.asked(), u64::from(core_trust == 0));
        assert!(world.list(NS_2, JULIET).is_some());
    }
}
