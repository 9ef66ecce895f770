// A debugger's client as an editor has it: it attaches to a program that waits for one, listens, and lets it run.

import { randomBytes } from 'node:crypto'
import { get } from 'node:http'
import type { Socket } from 'node:net'

const REQUESTS = ['Runtime.enable', 'Debugger.enable', 'Runtime.runIfWaitingForDebugger']

/** Attaches to the address that Node prints (`ws://…`), and stays until the socket that it returns is destroyed. */
export function attach(address: string): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const headers = { Connection: 'Upgrade', Upgrade: 'websocket', 'Sec-WebSocket-Version': '13', 'Sec-WebSocket-Key': randomBytes(16).toString('base64') }
    get(address.replace(/^ws:/, 'http:'), { headers }).on('error', reject).on('upgrade', (_answer, socket) => {
      // What it is told does not matter, but has to be read.
      socket.resume()
      socket.on('error', () => { /* The program has ended. */ })
      for (const [id, method] of REQUESTS.entries()) socket.write(frame(JSON.stringify({ id: id + 1, method })))
      resolve(socket)
    })
  })
}

/** A short text as a client sends it: masked, here with zeros. */
function frame(text: string): Buffer {
  return Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), Buffer.from(text)])
}
