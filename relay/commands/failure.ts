/** What a command could not do; its message is all that is printed. */
export class Failure extends Error {}
