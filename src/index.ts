/**
 * polyproc: Python's multiprocessing for Node.js.
 *
 * @packageDocumentation
 */

export * from './errors.js'
