// The other process of the tests: calls what it is sent, and sends back what that gives.

import { addEntries, IncompleteError, Peer } from '#src/target/index.js'
import { pack, unpack, type Packet, type Reply } from './remote.js'

addEntries(JSON.parse(process.env['POLYPROC_TEST_ENTRIES'] ?? '[]') as string[])
const peer = new Peer()
process.on('message', (packet: Packet) => {
  void answer(packet).then(reply => process.send!(reply))
})

async function answer(packet: Packet): Promise<Reply> {
  try {
    const [fn, args] = await unpack(packet) as [(...args: unknown[]) => unknown, unknown[]]
    return { ...pack(packet.id, await fn(...args), peer), threw: false }
  } catch (error) {
    if (error instanceof IncompleteError) return { id: packet.id, threw: true, kind: 0, bytes: new Uint8Array(), blobs: [], missing: error.id }
    return { ...pack(packet.id, error, peer), threw: true }
  }
}
