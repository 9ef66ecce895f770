/**
 * The memory into which messages are encoded before they are copied into the arena. Areas form a stack: whoever
 * encodes takes the next one and gives it back when the bytes have been copied, so a put inside a getter inside a
 * put finds an area of its own. The native part sees the same memory, told of each area by `onScratch`.
 */

const FIRST_BYTES = 64 * 1024
/** An area that a large message made larger than this is given up with the message. */
const KEEP_BYTES = 1024 * 1024

/** One area. `bytes` is replaced when it must grow. */
export interface Area {
  /** Its place in the stack: 0 for the outermost. */
  readonly index: number
  bytes: Buffer
  view: DataView
}

type Listener = (index: number, bytes: Buffer) => void
let listener: Listener | null = null
const areas: Area[] = []

function memory(size: number): Buffer {
  // Not from Node's pool: the area must be alone in its ArrayBuffer.
  return Buffer.allocUnsafeSlow(size)
}

function assign(area: Area, bytes: Buffer): void {
  area.bytes = bytes
  area.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length)
  listener?.(area.index, bytes)
}

/** Tells `onArea` of every area there is, and of each that is made or replaced from now on. */
export function onScratch(onArea: Listener | null): void {
  listener = onArea
  if (onArea !== null) for (const area of areas) onArea(area.index, area.bytes)
}

/** The area for that depth of nesting. */
export function areaAt(index: number): Area {
  let area = areas[index]
  if (area === undefined) {
    const bytes = memory(FIRST_BYTES)
    area = { index, bytes, view: new DataView(bytes.buffer, bytes.byteOffset, bytes.length) }
    areas[index] = area
    listener?.(index, bytes)
  }
  return area
}

/** Makes room for `size` bytes in all, keeping the first `used`. */
export function grow(area: Area, used: number, size: number): void {
  const bytes = memory(Math.max(size, area.bytes.length * 2))
  area.bytes.copy(bytes, 0, 0, used)
  assign(area, bytes)
}

/** Gives back the memory that a large message needed. */
export function shrink(area: Area): void {
  if (area.bytes.length > KEEP_BYTES) assign(area, memory(FIRST_BYTES))
}

/** Gives all areas up; `refuse` throws whenever another would be made. */
export function giveUpAreas(refuse: () => never): void {
  areas.length = 0
  listener = refuse
}
