"""All words of the reports in English and Chinese, with the same keys."""

from __future__ import annotations

from contextlib import suppress

from ecomfs_eval.errors import OptionError
from ecomfs_eval.metrics import get_metric
from ecomfs_eval.metrics.score import Score
from ecomfs_eval.report.document import ReportLanguage

EN: dict[str, str] = {
    "subtitle": "{rows} rows, {labels} labels: {names}",
    "summary": "Summary",
    "decision": "Decision",
    "systems": "Systems",
    "metric": "Metric",
    "interval_note": "In brackets: {level} % confidence interval.",
    "curves": "Curves",
    "learning": "Learning curves",
    "band_note": "Bands: {level} % interval over test rows and draws of examples.",
    "comparison": "{b} against {a}",
    "difference": "Difference",
    "compared": "{b} compared with {a}",
    "reliability_of": "Reliability of {name}",
    "numbers": "Where the numbers come from",
    "command": "Command",
    "data": "Data",
    "versions": "Versions",
    "settings": "Intervals",
    "p": "p-value",
    "paired_table": "Right in both {both}, in {a} only {only_a}, in {b} only {only_b}, in neither "
    "{neither}. Exact McNemar {p}.",
    "effect_note": "With these rows and this share of discordant rows, a test detects a difference "
    "of {effect} points of accuracy with 80 % power.",
    "effect_note_unpaired": "With arms of this size, a test detects a difference of {effect} "
    "points of accuracy with 80 % power.",
    "paired_counts": "Right in both {both}, in {a} only {only_a}, in {b} only {only_b}, in neither "
    "{neither}.",
    "unpaired": "{a} and {b} answered different rows, so they are compared unpaired: accuracy by "
    "Fisher's exact test and Newcombe's interval, other metrics by a bootstrap of each arm.",
    "sequential": "Sequential test, stopped after {rows} rows: the interval of the accuracy is a "
    "{level} % confidence sequence, and its p-value ({p}) is valid at every look. The other "
    "intervals and p-values are not corrected for repeated looks.",
    "slices": "Slices",
    "by": "By {name}",
    "class": "class",
    "value": "Value",
    "rows": "Rows",
    "p_adjusted": "p (Holm)",
    "flips": "Rows answered differently",
    "flips_count": "{broken} broken, {fixed} fixed, {changed} wrong in both but differently.",
    "broken": "broken",
    "fixed": "fixed",
    "changed": "changed",
    "more": "{n} more are not shown here.",
    "classes": "Classes",
    "label": "Label",
    "answered_with": "Answered",
    "confusion": "Confusion matrix",
    "confusion_note": "Rows are gold labels, columns are answers.",
    "top_confusions": "Most frequent confusions",
    "gold": "Gold",
    "answer": "Answer",
    "no_answer": "no answer",
    "worst": "Most confident errors",
    "no_errors": "No row is wrong.",
    "confidence": "Confidence",
    "p_gold": "Probability of gold",
    "undefined": "Not defined here",
    "definitions": "Definitions of the metrics",
    "roc": "ROC",
    "fpr": "False positive rate, %",
    "tpr": "True positive rate, %",
    "of_class": "class {label}",
    "pr": "Precision–recall",
    "recall": "Recall, %",
    "precision": "Precision, %",
    "reliability": "Reliability",
    "mean_confidence": "Confidence, %",
    "share_right": "Share right, %",
    "risk": "Risk–coverage",
    "coverage": "Coverage, %",
    "error_rate": "Error rate, %",
    "alt_curve": "{title} of {names}",
    "status": "Status",
    "s_best": "{name} is right on {value} of {rows} rows.",
    "s_worse_than": "{name} is right on {value}.",
    "s_unanswered": "{name} gave no usable answer on {n} rows ({parts}).",
    "s_abstained": "abstained {n}",
    "s_invalid": "invalid {n}",
    "s_failed": "failed {n}",
    "s_confident": "{name} is overconfident: its mean confidence is {confidence}, its accuracy "
    "{accuracy}.",
    "s_modest": "{name} is underconfident: its mean confidence is {confidence}, its accuracy "
    "{accuracy}.",
    "s_coverage": "Answering only the {coverage} of rows with confidence of {threshold} or more, "
    "{name} would be wrong on {risk} of them instead of {all} of all.",
    "s_confusion": "The most frequent error of {name}: {gold} answered as {answer}, {n} rows.",
    "s_slice": "{name} is weakest where {slicing} is {value}: {score} on {n} rows.",
    "d_better": "{winner} is better than {loser} by {size} {interval}; ship {winner}.",
    "d_equivalent": "No difference between {a} and {b} above the margin {interval}.",
    "d_undecided": "No difference shown between {b} and {a} {interval}; keep {a}.",
    "points_of": "{value} points of {metric}",
    "value_of": "{value} of {metric}",
    "undefined_value": "undefined",
    "in_short": "In short",
    "data_set": "Data set",
    "labelled": "Labelled",
    "runs": "Runs",
    "best_baseline": "Best baseline",
    "system": "System",
    "source": "Source",
    "one_run": "1 run",
    "mean_of_runs": "mean of {n} runs",
    "group": "{name}: {size} labelled examples, {rows} test rows, {runs}",
    "paired": "How {main} differs from each other system, on the same rows",
    "versus": "{main} compared with",
    "all_tables": "All {n} tables, {size}",
    "all_sizes": "all sizes",
    "examples": "{n} labelled examples",
    "mean": "Mean",
    "axis": "labelled examples",
    "against": "Against",
    "the_best_baseline": "the best baseline",
    "win_note": "Number of tables in which {main} is better. In brackets: number in which it is "
    "clearly better and clearly worse (the interval excludes zero).",
    "wins": "{better}/{of} ({clear} clear, {worse} worse)",
    "spread_note": "Intervals are {level} %; ± is the standard deviation over the runs. The best "
    "baseline is chosen on the same rows, which favours it.",
    "published": "Published results",
    "this_run": "this run",
    "no_baseline": "{main} has no baseline to compare with",
    "beats": "{main} beats the best baseline, {best}, in {metric}: {difference}",
    "loses": "{main} loses to the best baseline, {best}, in {metric}: {difference}",
    "ties": "{main} does not clearly differ from the best baseline, {best}, in {metric}: "
    "{difference}",
    "contribution": "Does the model add anything? {answer}: {main} compared with {without}, "
    "{rows} rows: {differences}",
    "adds": "Yes",
    "adds_not_shown": "Not shown",
    "adds_harm": "No, it harms",
    "adds_mixed": "Better in one, worse in the other",
    "and": ", ",
    "rule": "Trivial rule of the task: {rule}; {main} compared with it: {differences}",
    "rule_majority": "majority (the most frequent label)",
    "rule_repeat_last": "repeat_last (the last step again)",
    "rule_like_ratio": "like_ratio (which of two histories is longer)",
    "rule_field_similarity": "field_similarity (half of the characters of one text in the other)",
}

ZH: dict[str, str] = {
    "subtitle": "{rows} 行，{labels} 个标签：{names}",
    "summary": "小结",
    "decision": "结论",
    "systems": "各系统",
    "metric": "指标",
    "interval_note": "方括号内为 {level}% 置信区间。",
    "curves": "曲线",
    "learning": "学习曲线",
    "band_note": "色带：对测试行与样例抽样的 {level}% 区间。",
    "comparison": "{b} 对比 {a}",
    "difference": "差值",
    "compared": "{b} 与 {a} 相比",
    "reliability_of": "{name} 的可靠性",
    "numbers": "数字的来源",
    "command": "命令",
    "data": "数据",
    "versions": "版本",
    "settings": "区间",
    "p": "p 值",
    "paired_table": "两者都对 {both} 行，仅 {a} 对 {only_a} 行，仅 {b} 对 {only_b} 行，都错 "
    "{neither} 行。精确 McNemar 检验 {p}。",
    "effect_note": "以现有行数和不一致行的比例，检出 {effect} 个百分点准确率差异的检验功效为 80%。",
    "effect_note_unpaired": "以现有各组行数，检出 {effect} 个百分点准确率差异的检验功效为 80%。",
    "paired_counts": "两者都对 {both} 行，仅 {a} 对 {only_a} 行，仅 {b} 对 {only_b} 行，都错 "
    "{neither} 行。",
    "unpaired": "{a} 与 {b} 回答的是不同的行，因此不成对：准确率用 Fisher 精确检验与 Newcombe "
    "区间，其他指标用各组分别自助抽样。",
    "sequential": "序贯检验，在 {rows} 行后停止：准确率的区间是 {level} % 置信序列，其 p 值"
    "（{p}）在每次查看时都有效。其他区间与 p 值未对多次查看做校正。",
    "slices": "切片",
    "by": "按 {name}",
    "class": "类别",
    "value": "取值",
    "rows": "行数",
    "p_adjusted": "p（Holm）",
    "flips": "回答不同的行",
    "flips_count": "改坏 {broken} 行，改好 {fixed} 行，两者都错但不同 {changed} 行。",
    "broken": "改坏",
    "fixed": "改好",
    "changed": "变化",
    "more": "另有 {n} 行未列出。",
    "classes": "各类别",
    "label": "标签",
    "answered_with": "回答数",
    "confusion": "混淆矩阵",
    "confusion_note": "行为真实标签，列为回答。",
    "top_confusions": "最常见的混淆",
    "gold": "真实标签",
    "answer": "回答",
    "no_answer": "无回答",
    "worst": "最自信的错误",
    "no_errors": "没有错误的行。",
    "confidence": "置信度",
    "p_gold": "真实标签的概率",
    "undefined": "此处无定义",
    "definitions": "指标如何计算",
    "roc": "ROC 曲线",
    "fpr": "假正率，%",
    "tpr": "真正率，%",
    "of_class": "类别 {label}",
    "pr": "精确率–召回率",
    "recall": "召回率，%",
    "precision": "精确率，%",
    "reliability": "可靠性",
    "mean_confidence": "置信度，%",
    "share_right": "正确比例，%",
    "risk": "风险–覆盖率",
    "coverage": "覆盖率，%",
    "error_rate": "错误率，%",
    "alt_curve": "{names} 的{title}",
    "status": "状态",
    "s_best": "{name} 在 {rows} 行中答对 {value}。",
    "s_worse_than": "{name} 答对 {value}。",
    "s_unanswered": "{name} 有 {n} 行没有可用的回答（{parts}）。",
    "s_abstained": "弃答 {n}",
    "s_invalid": "无效 {n}",
    "s_failed": "失败 {n}",
    "s_confident": "{name} 置信度过高：平均置信度 {confidence}，准确率 {accuracy}。",
    "s_modest": "{name} 置信度过低：平均置信度 {confidence}，准确率 {accuracy}。",
    "s_coverage": "若只回答置信度不低于 {threshold} 的 {coverage} 的行，{name} 的错误率为 {risk}，"
    "全部回答时为 {all}。",
    "s_confusion": "{name} 最常见的错误：把 {gold} 答成 {answer}，共 {n} 行。",
    "s_slice": "{name} 最弱之处：{slicing} 为 {value} 时，{n} 行中答对 {score}。",
    "d_better": "{winner} 优于 {loser}，相差 {size} {interval}；采用 {winner}。",
    "d_equivalent": "{a} 与 {b} 的差异不超过界限 {interval}。",
    "d_undecided": "未显示 {b} 与 {a} 有差异 {interval}；保留 {a}。",
    "points_of": "{metric} {value} 个百分点",
    "value_of": "{metric} {value}",
    "undefined_value": "无定义",
    "in_short": "概要",
    "data_set": "数据集",
    "labelled": "标注数",
    "runs": "运行数",
    "best_baseline": "最佳基线",
    "system": "系统",
    "source": "来源",
    "one_run": "1 次运行",
    "mean_of_runs": "{n} 次运行的均值",
    "group": "{name}：{size} 个标注样例，{rows} 个测试行，{runs}",
    "paired": "{main} 与其他各系统的差值（同样的行）",
    "versus": "{main} 对比",
    "all_tables": "全部 {n} 个表，{size}",
    "all_sizes": "所有标注数",
    "examples": "{n} 个标注样例",
    "mean": "均值",
    "axis": "标注样例数",
    "against": "对比",
    "the_best_baseline": "最佳基线",
    "win_note": "{main} 在多少个表中更好；括号内为明显更好与明显更差的表数（区间不含零）。",
    "wins": "{better}/{of}（{clear} 明显更好，{worse} 明显更差）",
    "spread_note": "区间为 {level}%；± 为各次运行的标准差。最佳基线在同样的行上选出，对其有利。",
    "published": "已发表的结果",
    "this_run": "本次运行",
    "no_baseline": "{main} 没有可对比的基线",
    "beats": "{main} 的 {metric} 优于最佳基线 {best}：{difference}",
    "loses": "{main} 的 {metric} 不如最佳基线 {best}：{difference}",
    "ties": "{main} 的 {metric} 与最佳基线 {best} 无明显差异：{difference}",
    "contribution": "模型有没有贡献？{answer}：{main} 与 {without} 相比，{rows} 行：{differences}",
    "adds": "有",
    "adds_not_shown": "未显示",
    "adds_harm": "没有，反而更差",
    "adds_mixed": "一项更好，另一项更差",
    "and": "，",
    "rule": "任务的简单规则：{rule}；{main} 与它相比：{differences}",
    "rule_majority": "majority（最常见的标签）",
    "rule_repeat_last": "repeat_last（重复最后一步）",
    "rule_like_ratio": "like_ratio（两段历史中哪段更长）",
    "rule_field_similarity": "field_similarity（一段文字的一半字符出现在另一段中）",
}

STRINGS: dict[ReportLanguage, dict[str, str]] = {"en": EN, "zh": ZH}


class ReportWords:
    """The words of one language.

    >>> ReportWords("zh")("by", name="语言")
    '按 语言'
    """

    def __init__(self, language: ReportLanguage) -> None:
        self.language = language
        self._strings = STRINGS[language]

    def __call__(self, key: str, /, **values: object) -> str:
        return self._strings[key].format(**values)

    def metric(self, name: str, title: str = "") -> str:
        """The title of a metric; ``title`` is for metrics that are not registered.

        >>> ReportWords("zh").metric("level_accuracy@2")
        '准确率（第 2 层）'
        """
        if self.language == "zh":
            with suppress(OptionError):
                return get_metric(name).title_zh or title or get_metric(name).title
        return title or get_metric(name).title

    def inside(self, name: str, title: str = "") -> str:
        """The title of a metric inside a sentence.

        >>> ReportWords("en").inside("log_loss"), ReportWords("en").inside("f1_micro")
        ('log loss', 'F1, micro')
        """
        title = self.metric(name, title)
        return title[0].lower() + title[1:] if title[1:2].islower() else title

    def score(self, score: Score) -> str:
        """A score for people, without the reason where it is undefined."""
        return self("undefined_value") if score.value is None else score.text()
