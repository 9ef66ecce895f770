export class PolyprocError extends Error { readonly code: string = 'ERR_POLYPROC' }
