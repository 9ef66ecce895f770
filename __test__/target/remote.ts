// Another process that runs what it is sent, over Node's own IPC: the transport of these tests, so that shipping
// functions is tested apart from processes, queues and shared memory.

import { fork, type ChildProcess } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { decode, encode, needsOf } from '#src/codec/index.js'
import { Arrival, entryUrls, instances, Peer, preload, Shipment } from '#src/target/index.js'

export interface Packet { id: number, kind: number, bytes: Uint8Array, blobs: ArrayBuffer[] }
export interface Reply { id: number, threw: boolean, kind: number, bytes: Uint8Array, blobs: ArrayBuffer[], missing?: string }

export function pack(id: number, value: unknown, peer: Peer, inFull?: Iterable<string>): Packet {
  const shipment = new Shipment(peer, inFull)
  const message = encode(value, { fn: shipment, instance: instances })
  try {
    return {
      id, kind: message.kind, bytes: new Uint8Array(message.bytes.subarray(0, message.length)),
      blobs: message.blobs.map(blob => new Uint8Array(blob).buffer),
    }
  } finally {
    message.release()
    shipment.commit()
  }
}

export async function unpack({ kind, bytes, blobs }: Packet): Promise<unknown> {
  const buffer = Buffer.from(bytes)
  await preload(needsOf(kind, buffer))
  return decode(kind, buffer, 0, buffer.length, [], blobs, { fn: new Arrival(), instance: instances })
}

/** One other process. */
export class Remote {
  readonly child: ChildProcess
  readonly peer = new Peer()
  private readonly waiting = new Map<number, { resolve: (value: unknown) => void, reject: (error: unknown) => void, again: (missing: string) => void }>()
  private calls = 0
  /** Bytes of the last call's message. */
  lastSize = 0

  constructor(options: { execArgv?: string[] } = {}) {
    const env = { ...process.env, POLYPROC_TEST_ENTRIES: JSON.stringify(entryUrls()) }
    Reflect.deleteProperty(env, 'NODE_V8_COVERAGE')
    this.child = fork(fileURLToPath(new URL('child.js', import.meta.url)), { serialization: 'advanced', execArgv: options.execArgv ?? [], env })
    this.child.on('message', (reply: Reply) => {
      const call = this.waiting.get(reply.id)
      if (call === undefined) return
      if (reply.missing !== undefined) {
        call.again(reply.missing)
        return
      }
      this.waiting.delete(reply.id)
      unpack(reply).then(reply.threw ? call.reject : call.resolve, call.reject)
    })
    this.child.on('exit', code => {
      for (const { reject } of this.waiting.values()) reject(new Error(`the other process ended with ${String(code)}`))
    })
  }

  /** Calls a function there. What cannot be sent throws here, as any sender of ours does. */
  call<A extends readonly unknown[], R>(fn: (...args: A) => R, ...args: A): Promise<Awaited<R>> {
    return this.send([fn, args]) as Promise<Awaited<R>>
  }

  send(value: unknown): Promise<unknown> {
    const id = this.calls += 1
    const packet = pack(id, value, this.peer)
    this.lastSize = packet.bytes.length
    return new Promise((resolve, reject) => {
      const wanted: string[] = []
      const again = (missing: string): void => {
        if (wanted.includes(missing)) reject(new Error('asked twice for the same'))
        wanted.push(missing)
        try {
          this.child.send(pack(id, value, this.peer, wanted))
        } catch (error) {
          reject(error)
        }
      }
      this.waiting.set(id, { resolve, reject, again })
      this.child.send(packet)
    })
  }

  close(): Promise<void> {
    return new Promise(resolve => {
      this.child.once('exit', () => { resolve() })
      this.child.disconnect()
    })
  }
}
