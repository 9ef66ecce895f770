import { runAsWorker } from 'synckit'

runAsWorker(x => x * x)
