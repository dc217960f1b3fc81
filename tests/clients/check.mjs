/** Runs one test and prints how it went; a failure is the exit code of the program. */
export async function check(name, run) {
  try {
    await run()
    console.log(`ok     ${name}`)
  } catch (error) {
    process.exitCode = 1
    console.log(`FAILED ${name}\n${error.stack.slice(0, 2000)}`)
  }
}
