//! Every kind keeps every law.

use meshwork_crdt::Kind;
use meshwork_crdt::laws::Objects;

macro_rules! kinds {
    ($($name:ident: $kind:expr;)+) => {
        $(meshwork_crdt::law_tests!($name, Objects::of($kind));)+

        #[test]
        fn every_kind_is_here() {
            let here = [$($kind),+];
            for (kind, _, name, _) in Kind::NAMED {
                assert!(here.contains(&kind), "{name}");
            }
        }
    };
}

kinds! {
    flag: Kind::Flag;
    counter: Kind::Counter;
    register: Kind::Register;
    set: Kind::Set;
    map: Kind::Map;
    document: Kind::Document;
    dw_flag: Kind::DwFlag;
    g_counter: Kind::GCounter;
    max: Kind::Max;
    min: Kind::Min;
    g_set: Kind::GSet;
    rw_set: Kind::RwSet;
    fenced: Kind::Fenced;
    bounded_counter: Kind::BoundedCounter;
    sequence: Kind::Sequence;
    unknown_custom: Kind::Custom(0);
}

meshwork_crdt::law_tests!(custom, Objects::custom());
