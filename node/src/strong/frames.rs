//! Messages on their way: those for one node share frames.

use std::collections::BTreeMap;

use meshwork_membership::NodeId;

use super::message::Message;

/// What is to be sent, in the order in which it was said.
#[derive(Debug, Default)]
pub(crate) struct Frames {
    open: BTreeMap<NodeId, Open>,
    full: Vec<(NodeId, Vec<u8>)>,
}

/// A frame that has room.
#[derive(Debug, Default)]
struct Open {
    messages: usize,
    frame: Vec<u8>,
}

/// A frame with more than one message is no longer than this, so that small ones do not go the slow way of large ones.
pub(crate) const SHARED_BYTES_MAX: usize = 32 << 10;

/// Messages in one frame: what a peer can make of a few bytes each has a bound.
pub(crate) const MESSAGES_MAX: usize = 1_024;

impl Frames {
    pub(crate) fn push(&mut self, to: NodeId, message: &Message) {
        let open = self.open.entry(to).or_default();
        let before = open.frame.len();
        open.frame = message.encode_behind(core::mem::take(&mut open.frame));
        open.messages += 1;
        let too_much = open.frame.len() > SHARED_BYTES_MAX || open.messages > MESSAGES_MAX;
        if before > 0 && too_much {
            let alone = Open {
                messages: 1,
                frame: Message::frame_of(&open.frame.split_off(before)),
            };
            self.full.push((to, core::mem::replace(open, alone).frame));
        }
    }

    /// All that was pushed; each node's in order.
    pub(crate) fn take(&mut self) -> impl Iterator<Item = (NodeId, Vec<u8>)> {
        let open = core::mem::take(&mut self.open).into_iter();
        let open = open.map(|(to, open)| (to, open.frame));
        core::mem::take(&mut self.full).into_iter().chain(open)
    }
}

#[cfg(test)]
mod tests {
    use meshwork_sync::Key;

    use super::*;
    use crate::strong::message::{Ask, Query, Reply};

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 32])
    }

    fn ask(id: u64, name_bytes: usize) -> Message {
        let key = Key::new("bank", &vec![b'a'; name_bytes]).unwrap();
        Message::Ask {
            id,
            ask: Ask::Read(Query::Get(vec![key])),
        }
    }

    #[test]
    fn each_node_gets_its_messages_in_order_and_few_frames() {
        let mut frames = Frames::default();
        let mut said: BTreeMap<NodeId, Vec<Message>> = BTreeMap::new();
        for id in 0..1_000 {
            let message = match id % 3 {
                0 => ask(id, 1_000),
                1 => Message::Reply {
                    id,
                    reply: Reply::Busy,
                },
                _ => Message::MayForm,
            };
            let to = node(u8::try_from(id % 2).unwrap());
            frames.push(to, &message);
            said.entry(to).or_default().push(message);
        }
        let mut heard: BTreeMap<NodeId, Vec<Message>> = BTreeMap::new();
        let mut count = 0;
        for (to, frame) in frames.take() {
            assert!(frame.len() <= SHARED_BYTES_MAX);
            heard
                .entry(to)
                .or_default()
                .extend(Message::decode(&frame).unwrap());
            count += 1;
        }
        assert_eq!(heard, said);
        assert!(count <= 12, "{count} frames");
        assert_eq!(frames.take().count(), 0);
    }

    #[test]
    fn a_frame_that_nobody_here_would_send_is_refused() {
        let mut frames = Frames::default();
        (0..=MESSAGES_MAX).for_each(|_| frames.push(node(1), &Message::MayForm));
        let frames: Vec<_> = frames.take().map(|(_, frame)| frame).collect();
        let [full, one] = &frames[..] else {
            panic!("two frames");
        };
        assert_eq!(Message::decode(full).unwrap().len(), MESSAGES_MAX);
        assert_eq!(Message::decode(one).unwrap().len(), 1);
        let more = Message::MayForm.encode_behind(full.clone());
        assert!(Message::decode(&more).is_err());
        let long = (0..40).fold(Vec::new(), |frame, id| ask(id, 1_000).encode_behind(frame));
        assert!(long.len() > SHARED_BYTES_MAX && Message::decode(&long).is_err());
    }

    #[test]
    fn what_is_large_goes_alone_and_what_comes_next_behind_it() {
        let mut frames = Frames::default();
        let large = Message::Part {
            group: crate::strong::records::GroupId([0; 16]),
            snapshot: 1,
            part: 0,
            bytes: vec![7; 2 * SHARED_BYTES_MAX],
        };
        let said = [ask(1, 10), large, ask(2, 10)];
        for message in &said {
            frames.push(node(1), message);
        }
        let heard: Vec<Vec<Message>> = frames
            .take()
            .map(|(_, frame)| Message::decode(&frame).unwrap())
            .collect();
        assert_eq!(heard, said.map(|message| vec![message]));
    }
}
