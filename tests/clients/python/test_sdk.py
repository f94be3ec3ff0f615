"""The Python SDK `atproto` signs up, posts, replies, lists, deletes, uses app passwords, renames and follows the firehose.

It validates every answer against its own models. Started by ../python.test.mjs, which gives SERVER_URL and PLC_URL.
"""

import os
import struct
import threading
import unittest
import zlib

from atproto import AtUri, CAR, Client, DidInMemoryCache, IdResolver, SessionEvent, models
from atproto.exceptions import BadRequestError, UnauthorizedError
from atproto_firehose import FirehoseSubscribeReposClient, parse_subscribe_repos_message

SERVER = os.environ["SERVER_URL"]
PASSWORD = "correct horse battery staple"
POST = "app.bsky.feed.post"


def png(size: int) -> bytes:
    """The bytes of a grey picture of `size` by `size` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(b"".join(b"\0" + b"\x80" * size for _ in range(size)))
    header = struct.pack(">IIBBBBB", size, size, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def sign_up(handle: str) -> Client:
    """A new account, signed in."""
    anonymous = Client(SERVER)
    anonymous.com.atproto.server.create_account(
        models.ComAtprotoServerCreateAccount.Data(handle=handle, email=f"{handle}@example.com", password=PASSWORD)
    )
    return sign_in(handle, PASSWORD)


def sign_in(identifier: str, password: str) -> Client:
    """Signed in as the SDK does it: with a look at the profile, which the server fetches from its AppView."""
    client = Client(SERVER)
    client.login(identifier, password)
    return client


class Sdk(unittest.TestCase):
    @classmethod
    def setUpClass(cls) -> None:
        cls.client = sign_up("snake.test")
        cls.did = cls.client.me.did

    def posts(self) -> list:
        listed = self.client.com.atproto.repo.list_records(
            models.ComAtprotoRepoListRecords.Params(repo=self.did, collection=POST)
        )
        return listed.records

    def test_a_post_with_an_image_and_a_reply_are_made_listed_and_deleted(self) -> None:
        picture = png(10)
        root = self.client.send_image(text="with image", image=picture, image_alt="grey")
        ref = models.create_strong_ref(root)
        reply = self.client.send_post("reply", reply_to=models.AppBskyFeedPost.ReplyRef(root=ref, parent=ref))

        records = self.posts()
        self.assertEqual([record.uri for record in records], [reply.uri, root.uri])
        self.assertEqual(records[0].value.reply.parent.uri, root.uri)
        image = records[1].value.embed.images[0].image
        self.assertEqual((image.mime_type, image.size), ("image/png", len(picture)))
        blob = self.client.com.atproto.sync.get_blob(
            models.ComAtprotoSyncGetBlob.Params(did=self.did, cid=image.cid.encode())
        )
        self.assertEqual(blob, picture)
        got = self.client.get_post(AtUri.from_str(root.uri).rkey, self.did)
        self.assertEqual(got.value.text, "with image")

        for uri in (reply.uri, root.uri):
            self.assertTrue(self.client.delete_post(uri))
        self.assertEqual(self.posts(), [])

    def test_likes_and_follows_come_and_go(self) -> None:
        post = self.client.send_post("likeable")
        like = self.client.like(post.uri, post.cid)
        follow = self.client.follow(self.did)
        self.assertTrue(self.client.unlike(like.uri))
        self.assertTrue(self.client.unfollow(follow.uri))
        self.assertTrue(self.client.delete_post(post.uri))

    def test_an_app_password_signs_in_until_it_is_revoked(self) -> None:
        server = self.client.com.atproto.server
        made = server.create_app_password(models.ComAtprotoServerCreateAppPassword.Data(name="script"))
        sign_in(self.did, made.password)
        self.assertEqual([each.name for each in server.list_app_passwords().passwords], ["script"])
        server.revoke_app_password(models.ComAtprotoServerRevokeAppPassword.Data(name="script"))
        with self.assertRaises(UnauthorizedError):
            sign_in(self.did, made.password)

    def test_a_session_is_exported_resumed_and_refreshed(self) -> None:
        seen = []
        client = Client(SERVER)
        client.on_session_change(lambda event, session: seen.append(event))
        client.login(session_string=self.client.export_session_string())
        self.assertEqual(client.com.atproto.server.get_session().did, self.did)
        client._refresh_and_set_session()
        self.assertEqual(seen, [SessionEvent.IMPORT, SessionEvent.REFRESH])
        self.assertEqual(client.com.atproto.server.get_session().did, self.did)

    def test_a_handle_is_changed_and_found(self) -> None:
        client = sign_up("egg.test")
        did = client.me.did
        self.assertTrue(client.update_handle("cobra.test"))
        self.assertEqual(client.resolve_handle("cobra.test").did, did)
        with self.assertRaises(BadRequestError):
            client.resolve_handle("egg.test")
        document = IdResolver(plc_url=os.environ["PLC_URL"], cache=DidInMemoryCache()).did.resolve(did)
        self.assertEqual(document.get_handle(), "cobra.test")
        self.assertEqual(document.get_pds_endpoint(), SERVER)

    def test_the_export_is_read_back(self) -> None:
        post = self.client.send_post("exported")
        car = CAR.from_bytes(self.client.com.atproto.sync.get_repo(models.ComAtprotoSyncGetRepo.Params(did=self.did)))
        texts = [block.get("text") for block in car.blocks.values() if block.get("$type") == POST]
        self.assertIn("exported", texts)
        self.assertTrue(self.client.delete_post(post.uri))

    def test_the_firehose_tells_of_a_post(self) -> None:
        firehose = FirehoseSubscribeReposClient(base_uri=SERVER.replace("http", "ws") + "/xrpc", params={"cursor": 0})
        found = threading.Event()

        def look(message) -> None:
            commit = parse_subscribe_repos_message(message)
            if not isinstance(commit, models.ComAtprotoSyncSubscribeRepos.Commit) or not commit.blocks:
                return
            blocks = CAR.from_bytes(commit.blocks).blocks
            for op in commit.ops:
                if op.action == "create" and blocks.get(op.cid, {}).get("text") == "on the air":
                    found.set()

        watching = threading.Thread(target=firehose.start, args=(look,), daemon=True)
        watching.start()
        self.client.send_post("on the air")
        self.assertTrue(found.wait(20), "the post did not come by")
        firehose.stop()


if __name__ == "__main__":
    unittest.main()
