// One line at the end, in the form in which `cargo xtask test` counts.
import type { Reporter, TestModule } from 'vitest/node';

export default class Summary implements Reporter {
  onTestRunEnd(modules: ReadonlyArray<TestModule>, faults: ReadonlyArray<unknown>): void {
    const count = { passed: 0, failed: faults.length, skipped: 0, pending: 0 };
    for (const module of modules) {
      const before = count.failed;
      for (const test of module.children.allTests()) count[test.result().state] += 1;
      if (module.errors().length && count.failed === before) count.failed += 1;
    }
    const { passed, failed, skipped, pending } = count;
    console.log(`test result: ${failed ? 'FAILED' : 'ok'}. ${passed} passed; ${failed} failed; ${skipped + pending} ignored; the browser app`);
  }
}
