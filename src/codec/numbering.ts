/**
 * The numbers of a message's objects, in the order in which they are met: an object that is met again is written as a reference
 * to its number.
 */

import { Flag, Tag } from './format.js'
import { Refusal } from './refusal.js'
import { Writer } from './writer.js'

/** Up to so many objects are searched one by one for a second occurrence; beyond, a Map takes over. */
const LINEAR = 12

/** See the module. */
export class Numbering extends Writer {
  protected flags = 0
  private readonly seen = new Array<unknown>(LINEAR).fill(null)
  private seenMap: Map<object, number> | null = null
  private objects = 0
  /** Objects that the receiver can only make once it has their class, which is being written. */
  unmade: Set<object> | null = null

  /** Writes a reference if the object was met before; else gives it its number. */
  writeReference(value: object): boolean {
    let id: number | undefined = -1
    if (this.seenMap === null) {
      const seen = this.seen
      const count = this.objects
      for (let i = 0; i < count; i += 1) {
        if (seen[i] === value) {
          id = i
          break
        }
      }
      if (id < 0) {
        if (count < LINEAR) seen[count] = value
        else {
          this.seenMap = new Map(seen.map((object, index) => [object as object, index]))
          this.seenMap.set(value, count)
        }
      }
    } else {
      id = this.seenMap.get(value) ?? -1
      if (id < 0) this.seenMap.set(value, this.objects)
    }
    if (id < 0) {
      this.objects += 1
      return false
    }
    if (this.unmade?.has(value) === true) throw new Refusal(value, 'its class leads back to it, and extends a built-in one; keep what leads back out of static members')
    this.flags |= Flag.Shared
    this.bytes[this.at++] = Tag.Reference
    this.writeVaruint(id)
    return true
  }

  /** Gives an object its number that is one of the first and has not been met before. */
  register(value: object): void {
    this.seen[this.objects] = value
    this.objects += 1
  }

  protected registerBoth(root: object, array: object): void {
    this.register(root)
    this.register(array)
  }

  /** Forgets all of them. */
  protected forgetNumbers(): void {
    const { seen } = this
    for (let i = Math.min(this.objects, LINEAR) - 1; i >= 0; i -= 1) seen[i] = null
    this.seenMap = null
    this.objects = 0
    this.unmade = null
  }
}
