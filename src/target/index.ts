/**
 * Any function and any class in another process: what `Process`, messages, pools and managers use to send them.
 *
 * The sender gives a {@link Shipment} to the codec as `fn`, the receiver loads what the message needs with
 * {@link preload} and gives an {@link Arrival} to the codec as `fn`; {@link instances} goes with both.
 */

export { perProcess } from './per-process.js'
export { describeNamed, isSelfContained, isSteady, Peer, Shipment, setIsHandle, takeForgotten } from './ship.js'
export { Arrival, canGenerateCode, forget, IncompleteError } from './revive.js'
export { importFrom, namespaceOf, needOf, preload, type Need } from './modules.js'
export { addEntries, entryUrls } from './subject.js'
export { instances, privatesAgainst } from './instance.js'
export { registerPackage } from './names.js'
export { hashOf } from './exports.js'
