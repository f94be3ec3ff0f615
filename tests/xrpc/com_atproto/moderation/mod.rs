mod create_report;
