/**
 * The entry of `npm start`, `npm test` and of `npm run` with check, bench, package, trial, fuzz,
 * soak: brings a bare machine to where the job can run, says what it does, skips what is done, then
 * becomes the job.
 *
 * This file is read by whatever node there is. So it has no static import of our own files and no
 * syntax newer than ES2020 until the version is known to be right.
 */
const NODE_MIN = [20, 19];

const found = process.versions.node.split(".").map(Number);
if (found[0] < NODE_MIN[0] || (found[0] === NODE_MIN[0] && found[1] < NODE_MIN[1])) {
  console.error(
    "drystone: Node " +
      NODE_MIN.join(".") +
      " or newer is needed, this is " +
      process.version +
      ". Next step: install Node 20 from https://nodejs.org, then run this again.",
  );
  process.exitCode = 1;
} else {
  void import("./setup/main.mjs").then((setup) => setup.main(process.argv.slice(2)));
}
