import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { HeldBytes, type Holder } from "../../../agent/listener/held-bytes.ts";

interface Peer extends Holder {
  heldBytes: number;
}

/** Peers and the limit, with a list of what was evicted and of what everybody held at that moment. */
function createPeers(count: number, limitBytes: number) {
  const evicted: { readonly peer: number; readonly bytes: number; readonly others: readonly number[] }[] = [];
  const peers: Peer[] = Array.from({ length: count }, (_, peer) => ({
    heldBytes: 0,
    evict(bytes) {
      this.heldBytes = 0;
      evicted.push({ peer, bytes, others: peers.map(({ heldBytes }) => heldBytes) });
    },
  }));
  const held = new HeldBytes(limitBytes);
  const hold = (peer: number, bytes: number) => {
    peers[peer].heldBytes = bytes;
    held.hold(peers[peer], bytes);
  };
  return { peers, held, hold, evicted };
}

describe("what all connections hold", () => {
  const limitBytes = 1_000;
  const changes = fc.array(fc.tuple(fc.nat(19), fc.oneof(fc.nat(1_500), fc.nat(60), fc.constant(0))), {
    maxLength: 200,
  });

  it("never exceeds the limit, and is the sum of what each holds", () => {
    fc.assert(
      fc.property(changes, (steps) => {
        const { peers, held, hold } = createPeers(20, limitBytes);
        for (const [peer, bytes] of steps) {
          hold(peer, bytes);
          const sum = peers.reduce((all, { heldBytes }) => all + heldBytes, 0);
          expect(held.total).toBe(sum);
          expect(sum).toBeLessThanOrEqual(limitBytes);
        }
      }),
    );
  });

  it("evicts only who holds most, and only if all together exceed the limit", () => {
    fc.assert(
      fc.property(changes, (steps) => {
        const { hold, evicted } = createPeers(20, limitBytes);
        for (const [peer, bytes] of steps) hold(peer, bytes);
        for (const { bytes, others } of evicted) {
          expect(bytes).toBeGreaterThanOrEqual(Math.max(...others));
          expect(bytes + others.reduce((all, other) => all + other, 0)).toBeGreaterThan(limitBytes);
        }
      }),
    );
  });

  it("never evicts a peer with a sixteenth of the limit while others hold the rest", () => {
    fc.assert(
      fc.property(changes, (steps) => {
        const { hold, evicted } = createPeers(20, limitBytes);
        // Four of HAProxy's connections, each in the middle of a frame.
        for (let peer = 0; peer < 4; peer++) hold(peer, limitBytes / 16);
        for (const [peer, bytes] of steps) if (peer >= 4) hold(peer, bytes === 0 ? 0 : bytes + limitBytes / 16);
        expect(evicted.filter(({ peer }) => peer < 4)).toEqual([]);
      }),
    );
  });

  it("counts anew before it evicts: a peer may have read its answers since", () => {
    const { peers, held, hold, evicted } = createPeers(3, limitBytes);
    hold(0, 600);
    hold(1, 300);
    peers[0].heldBytes = 10;

    hold(2, 500);

    expect(evicted).toEqual([]);
    expect(held.total).toBe(810);
  });
});
