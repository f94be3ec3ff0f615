#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

/// Read by tungstenite's own client, over a pipe that takes `pipe_bytes` at a time.
async fn pair(
    pipe_bytes: usize,
) -> (Socket<tokio::io::DuplexStream>, WebSocketStream<tokio::io::DuplexStream>) {
    let (server, client) = tokio::io::duplex(pipe_bytes);
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    (Socket::new(server).await, client)
}

fn messages() -> Vec<Bytes> {
    let lengths =
        [0, 1, 125, 126, 127, 65_535, 65_536, 200_000].into_iter().chain(std::iter::repeat_n(300, 100));
    lengths.enumerate().map(|(n, len)| Bytes::from(vec![n as u8; len])).collect()
}

#[tokio::test]
async fn messages_of_every_length_arrive_whole_and_in_order_however_little_is_taken_at_once() {
    for pipe_bytes in [1, 7, 4096, 1 << 20] {
        let (mut socket, mut client) = pair(pipe_bytes).await;
        let sending = tokio::spawn(async move {
            socket.line_up(messages());
            while socket.has_unsent() {
                socket.send_some().await.unwrap();
            }
            socket
        });
        for expected in messages() {
            assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(expected));
        }
        assert!(sending.await.unwrap().unsent.capacity() <= UNSENT_KEPT);
    }
}

#[tokio::test]
async fn what_was_cut_short_in_the_middle_of_a_message_is_ended_before_the_last_one() {
    let (mut socket, mut client) = pair(64).await;
    socket.line_up([Bytes::from(vec![1; 1000]), Bytes::from(vec![2; 1000])]);
    // Sent into a full pipe and given up.
    assert!(futures::poll!(std::pin::pin!(socket.send_some())).is_pending());
    let last =
        tokio::spawn(async move { socket.send_last(Message::Binary(Bytes::from_static(b"end"))).await });
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(vec![1; 1000].into()));
    assert_eq!(client.next().await.unwrap().unwrap(), Message::Binary(Bytes::from_static(b"end")));
    last.await.unwrap().unwrap();
}

#[tokio::test]
async fn a_pong_that_waits_for_room_does_not_fall_into_a_message() {
    let (server, mut client) = tokio::io::duplex(8);
    let mut socket = Socket::new(server).await;
    let serving = tokio::spawn(async move {
        while let Ok(Message::Ping(_)) = socket.receive().await.unwrap() {
            // The pong may still be on its way.
            socket.line_up([Bytes::from_static(b"a message of some length")]);
            while socket.has_unsent() {
                socket.send_some().await.unwrap();
            }
        }
    });
    let mut expected = vec![0x8a, 20];
    expected.extend([b'p'; 20]);
    expected.extend([BINARY, 24]);
    expected.extend(b"a message of some length");
    let (mut reading, mut writing) = tokio::io::split(&mut client);
    let ping = async {
        // A mask of zeros leaves the bytes as they are.
        writing.write_all(&[&[0x89, 0x80 | 20, 0, 0, 0, 0][..], &[b'p'; 20]].concat()).await.unwrap();
    };
    let mut heard = vec![0; expected.len()];
    let (_, read) = tokio::join!(ping, reading.read_exact(&mut heard));
    read.unwrap();
    assert_eq!(heard, expected);
    serving.abort();
}
