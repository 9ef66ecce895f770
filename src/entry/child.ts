/** The program that Node is told to run in a child. */

import { runChild } from '../child.js'

runChild()
