// What workers of piscina and tinypool run: one number, or a list of them.
export default value => typeof value === 'number' ? value * value : value.map(x => x * x)
